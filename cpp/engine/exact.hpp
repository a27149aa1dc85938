// Floats that come out the same to the bit whatever the compiler is told: -ffast-math, contraction,
// x87 registers.
//
// int8 needs three operations on floats: an integer becomes one, is multiplied, and is rounded to
// an integer. No flag changes what a single one of them gives, but what surrounds it may be fused
// with it, and an x87 register holds more than a binary32 until it is stored. So the first two are
// `scaled` here, and what comes after it are operations on integers, and such on floats whose
// result is exact, which may be reordered and kept in wide registers. What a compiler may take for
// a plain x, like (x + c) - c, or for impossible, like a NaN, is not used.
//
// Flushing denormals to zero changes nothing either: a multiplier is 0 or at least 2^-126 (rule 21
// of docs/reference/mnk.md), and so is its product with an integer.
#pragma once

#include <cfloat>
#include <cstdint>
#include <cstring>

#include "inline.hpp"

#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || FLT_MIN_EXP != -125 || FLT_MAX_EXP != 128
#error "mnistkit's int8 arithmetic wants float to be IEEE binary32; choose a target or flag with it"
#endif

namespace mnistkit::engine {
namespace {

MNISTKIT_INLINE std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

MNISTKIT_INLINE bool finite(float value) { return (bits_of(value) & 0x7F800000) != 0x7F800000; }

// The value as memory has it: the compiler knows nothing of where it came from.
MNISTKIT_INLINE float stored(float value) {
  const volatile float memory = value;
  return memory;
}

// float32(integer) * multiplier, each rounded to binary32. A product in an x87 register is exact,
// so that storing it is its only rounding. Do not add to it: that may be fused; see `stored`.
MNISTKIT_INLINE float scaled(std::int32_t integer, float multiplier) {
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
  return static_cast<float>(integer) * multiplier;
#else
  return stored(stored(static_cast<float>(integer)) * multiplier);
#endif
}

}  // namespace
}  // namespace mnistkit::engine
