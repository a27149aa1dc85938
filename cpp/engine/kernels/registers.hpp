// Keeping values in registers: loops over them must be unrolled in full, or they become an array in
// memory.
#pragma once

#include "../inline.hpp"

#if defined(__clang__)
#define MNISTKIT_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define MNISTKIT_UNROLL _Pragma("GCC unroll 16")
#else
#define MNISTKIT_UNROLL
#endif

namespace mnistkit::engine {
namespace {

// Says that a vector stands in one register and may have changed: the compiler then neither copies
// it to another on the way, nor takes what follows from it out of a loop.
template <class T>
MNISTKIT_INLINE void renew(T& value) {
  if constexpr (sizeof value >= 16) {
#if defined(__x86_64__)
    __asm__ volatile("" : "+v"(value));
#elif defined(__aarch64__)
    __asm__ volatile("" : "+w"(value));
#endif
  }
}

}  // namespace
}  // namespace mnistkit::engine
