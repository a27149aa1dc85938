// 128-bit vectors in the compiler's own terms, for any machine that has some: RISC-V, POWER, s390x,
// LoongArch, MIPS, 32-bit Arm and x86. Where it has none, the compiler makes scalar code of them.
//
// A word of four bytes is two halves of 16 bits. The bytes 0 and 2, by significance, and 1 and 3
// are multiplied apart, so that nothing needs to be shuffled.
#include <cfloat>

#include "bits128.hpp"

namespace mnistkit::engine {
namespace {

using bits128::Int4, bits128::Real4, bits128::Word4, bits128::splat;
using Half8 [[gnu::vector_size(16)]] = std::int16_t;
using Bits8 [[gnu::vector_size(16)]] = std::uint16_t;

// The lower bytes of all halves, widened; and the upper ones.
template <bool kSigned>
MNISTKIT_INLINE Half8 lower(Word4 bytes) {
  const auto halves = reinterpret_cast<Bits8>(bytes);
  return kSigned ? reinterpret_cast<Half8>(halves << 8) >> 8
                 : reinterpret_cast<Half8>(halves & 0xFF);
}
template <bool kSigned>
MNISTKIT_INLINE Half8 upper(Word4 bytes) {
  return kSigned ? reinterpret_cast<Half8>(bytes) >> 8
                 : reinterpret_cast<Half8>(reinterpret_cast<Bits8>(bytes) >> 8);
}

MNISTKIT_INLINE Int4 low_half(Half8 halves) {
  return reinterpret_cast<Int4>(reinterpret_cast<Word4>(halves) << 16) >> 16;
}
MNISTKIT_INLINE Int4 high_half(Half8 halves) { return reinterpret_cast<Int4>(halves) >> 16; }

// round(acc * multiplier), ties to even, clamped, of four channels. A float of at least 0.5 is a
// multiple of 2^-24, so that a clamped one is an exact integer times 2^-24, and is rounded as an
// integer; below 0.5 what is lost changes nothing. No order in which a compiler may multiply
// changes a bit: the last factor is a power of two. One function for all tiles, since it is long.
[[gnu::noinline]] Word4 requantize(const Int4 (&acc)[4], const float* multiplier,
                                   std::int32_t low) {
  const Real4 least = splat(static_cast<float>(low)), most = splat(127.0f);
  Word4 packed{};
  MNISTKIT_UNROLL
  for (std::uint32_t o = 0; o < 4; ++o) {
    Real4 value = __builtin_convertvector(acc[o], Real4) * multiplier[o];
    value = value < least ? least : value;
    value = value > most ? most : value;
    const Int4 fixed = __builtin_convertvector(value * 16777216.0f, Int4);
    const Int4 rounded = (fixed + 0x7FFFFF + (fixed >> 24 & 1)) >> 24;
    packed |= reinterpret_cast<Word4>(rounded - low) << 8 * byte_of_word(o);
  }
  return packed;
}

struct Vectors {
  struct Weight {
    Half8 lower, upper;
  };
  MNISTKIT_INLINE static Weight weight(Word4 bytes) {
    return {engine::lower<true>(bytes), engine::upper<true>(bytes)};
  }

  // Two products fit into 16 bits: a weight is at least -127 (docs/explanations/int8.md).
  template <bool kSigned>
  MNISTKIT_INLINE static Int4 add(Int4 acc, Word4 value, Weight weight) {
    const Half8 pairs = lower<kSigned>(value) * weight.lower + upper<kSigned>(value) * weight.upper;
    return acc + low_half(pairs) + high_half(pairs);
  }
  template <bool kSignedOut>
  MNISTKIT_INLINE static Word4 pack(const Int4 (&acc)[4], const float* multiplier) {
    return requantize(acc, multiplier, kSignedOut ? -128 : 0);
  }

  // Depthwise: lanes are pixels here too.
  MNISTKIT_INLINE static void start_channels(Int4 (&acc)[4], const std::byte* bias) {
    for (int c = 0; c < 4; ++c) acc[c] = splat(get<std::int32_t>(bias + c * 4));
  }
  // The weights of a tap for the bytes of significance `byte` and `byte` + 2.
  MNISTKIT_INLINE static Half8 tap_weight(const std::byte* weights, std::uint32_t tap,
                                          std::uint32_t byte) {
    const auto of = [&](std::uint32_t b) {
      return static_cast<std::uint32_t>(
          static_cast<signed char>(weights[byte_of_word(b) * 4 + tap]));
    };
    return reinterpret_cast<Half8>(splat((of(byte) & 0xFFFF) | of(byte + 2) << 16));
  }
  template <bool kSigned>
  MNISTKIT_INLINE static void mac_channels(Int4 (&acc)[4], const Word4 (&value)[4],
                                           const std::byte* weights) {
    MNISTKIT_UNROLL
    for (std::uint32_t tap = 0; tap < 4; tap += 2) {
      const Half8 even = lower<kSigned>(value[tap]) * tap_weight(weights, tap, 0) +
                         lower<kSigned>(value[tap + 1]) * tap_weight(weights, tap + 1, 0);
      const Half8 odd = upper<kSigned>(value[tap]) * tap_weight(weights, tap, 1) +
                        upper<kSigned>(value[tap + 1]) * tap_weight(weights, tap + 1, 1);
      acc[byte_of_word(0)] += low_half(even);
      acc[byte_of_word(1)] += low_half(odd);
      acc[byte_of_word(2)] += high_half(even);
      acc[byte_of_word(3)] += high_half(odd);
    }
  }
  template <bool kSignedOut>
  MNISTKIT_INLINE static Word4 pack_channels(const Int4 (&acc)[4], const float* multiplier) {
    return pack<kSignedOut>(acc, multiplier);
  }
};

}  // namespace

static constexpr Path kInt8Path = path<bits128::Int8<Vectors>>();
static constexpr Paths kInt8 = {kInt8Path, kInt8Path, nullptr};
static constexpr Path kFp32Path = path<bits128::Fp32>();
extern const Paths kVectorFp32;  // of all sets of 128 bits
constinit const Paths kVectorFp32 = {kFp32Path, kFp32Path, peak<bits128::Fp32>};

extern const KernelSet kVector128;
constinit const KernelSet kVector128 = {"vector128", "128-bit vectors by the compiler, any machine",
                                        [] { return FLT_EVAL_METHOD == 0; }, &kInt8, &kVectorFp32};

}  // namespace mnistkit::engine
