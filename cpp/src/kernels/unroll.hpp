// Loops over registers must be unrolled in full, or the registers become an array in memory.
#pragma once

#if defined(__clang__)
#define MNISTKIT_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define MNISTKIT_UNROLL _Pragma("GCC unroll 16")
#else
#define MNISTKIT_UNROLL
#endif

#if defined(__GNUC__)
#define MNISTKIT_INLINE [[gnu::always_inline]] inline
#else
#define MNISTKIT_INLINE inline
#endif
