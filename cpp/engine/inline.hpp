// Functions of headers that files with other instruction flags include too. They must vanish into
// their callers: of an inline function that stays, the linker keeps one copy, and if that is the
// one with AVX-512 in it, a CPU without dies in code that has nothing to do with AVX-512.
#pragma once

#if defined(__GNUC__)
#define MNISTKIT_INLINE [[gnu::always_inline]] inline
#else
#define MNISTKIT_INLINE inline
#endif
