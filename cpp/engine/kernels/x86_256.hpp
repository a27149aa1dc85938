// 256-bit x86 kernels, for AVX2, AVX-VNNI and what is left over in AVX-512: `Dot` multiplies, the
// rest is the same.
#pragma once

#include <immintrin.h>

#include "peak.hpp"
#include "run.hpp"

namespace mnistkit::engine {
namespace {
namespace bits256 {

// Eight lanes are one unit of eight pixels.
struct Pixels {
  static constexpr int kUnits = 1;
  static constexpr std::uint32_t kPixels = 8, kImages = 1;

  static void put_all(__m256i value, std::byte* plane, const Unit* const* units) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(plane + units[0]->out), value);
  }
  // Lanes 0, 2, 4, 6 hold the pooled outputs.
  static void put_even(__m256i value, std::byte* plane, const Unit* const* units) {
    const __m256i even =
        _mm256_permutevar8x32_epi32(value, _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(plane + units[0]->out),
                     _mm256_castsi256_si128(even));
  }
  // The windows of eight pixels, from the bytes of a row.
  static void expand(const std::uint8_t* row, std::byte* to) {
    const __m256i bytes =
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
    const __m256i near =
        _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 0, 0, 1, 2, 0, 0));
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_shuffle_epi8(near, order));
  }
  static __m256i neighbour(__m256i value) { return _mm256_srli_epi64(value, 32); }
};

// Eight lanes are the same pixel of eight images.
struct Images {
  static constexpr int kUnits = 1;
  static constexpr std::uint32_t kPixels = 1, kImages = 8;

  static void put_all(__m256i value, std::byte* plane, const Unit* const* units) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(plane + units[0]->out), value);
  }
  static void put_even(__m256i value, std::byte* plane, const Unit* const* units) {
    put_all(value, plane, units);
  }
  using Word = __m256i;
  using Index = __m256i;
  static Index index(const std::int32_t* offsets) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(offsets));
  }
  // Four neighbouring pixels of each image, as integers 0..127.
  static Word pixels(const std::uint8_t* at, Index offsets) {
    const Word four = _mm256_i32gather_epi32(reinterpret_cast<const int*>(at), offsets, 1);
    return _mm256_and_si256(_mm256_srli_epi32(four, 1), _mm256_set1_epi8(127));
  }
  static Word shift(Word low, Word high, int bits) {
    return _mm256_or_si256(_mm256_srl_epi32(low, _mm_cvtsi32_si128(bits)),
                           _mm256_sll_epi32(high, _mm_cvtsi32_si128(32 - bits)));
  }
  static void put_word(std::byte* at, Word value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value);
  }
};

MNISTKIT_INLINE __m256i fetch(const std::byte* const* at, std::size_t offset) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[0] + offset));
}

// Adds the lanes of `values` that hold an output to channel sums of type T.
template <class Lanes, class T>
MNISTKIT_INLINE void add_lanes(std::byte* sums, std::uint32_t channel, const T (&values)[8],
                               const Unit* const* units) {
  std::byte* sum = sums + channel * 4 * Lanes::kImages;
  if constexpr (Lanes::kPixels > 1) {
    T total = get<T>(sum);
    for (int lane = 0; lane < 8; ++lane) {
      if (units[0]->mask >> lane & 1) total += values[lane];
    }
    put(sum, total);
  } else {
    for (int lane = 0; lane < 8; ++lane) {
      put(sum + lane * 4, static_cast<T>(get<T>(sum + lane * 4) + values[lane]));
    }
  }
}

template <class Lanes, class Dot>
struct Int8 : Lanes {
  static constexpr bool kInt8 = true;
  static constexpr int kVectors = 2;
  using Reg = __m256i;
  using Acc = __m256i;
  using Weight = __m256i;

  template <bool kSigned>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    const Reg value = fetch(at, offset);
    return kSigned ? _mm256_xor_si256(value, _mm256_set1_epi8(-128)) : value;
  }
  static Weight weight(const std::byte* at) { return _mm256_set1_epi32(get<int>(at)); }
  static Acc start(const std::byte* bias) { return _mm256_set1_epi32(get<int>(bias)); }
  static Acc larger(Acc a, Acc b) { return _mm256_max_epi32(a, b); }
  template <bool kSigned>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc = Dot::template add<kSigned>(acc, value, weight);
  }
  static __m256i scale(Acc acc, __m256 multiplier) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), multiplier));
  }
  // Saturates to bytes, the parts' lanes a b c d side by side in each 128 bits.
  template <bool kSignedOut>
  static __m256i saturate(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i ab = _mm256_packs_epi32(a, b), cd = _mm256_packs_epi32(c, d);
    if constexpr (kSignedOut) {
      return _mm256_xor_si256(_mm256_packs_epi16(ab, cd), _mm256_set1_epi8(-128));
    } else {
      return _mm256_max_epi8(_mm256_packs_epi16(ab, cd), _mm256_setzero_si256());
    }
  }
  template <bool kSignedOut>
  static Reg pack(const Acc (&acc)[4], const float* multiplier) {
    __m256i q[4];
    MNISTKIT_UNROLL
    for (int o = 0; o < 4; ++o) q[o] = scale(acc[o], _mm256_set1_ps(multiplier[o]));
    const __m256i transpose = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    return _mm256_shuffle_epi8(saturate<kSignedOut>(q[0], q[1], q[2], q[3]), transpose);
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    Lanes::put_all(value, plane, units);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    if constexpr (Lanes::kPixels > 1) value = _mm256_max_epu8(value, Lanes::neighbour(value));
    Lanes::put_even(value, plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const* units) {
    alignas(32) std::int32_t values[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(values), acc);
    add_lanes<Lanes>(sums, channel, values, units);
  }

  // Depthwise: lanes are the four channels of two pixels or images.
  static Reg zero() { return _mm256_setzero_si256(); }
  static __m256i four(const void* at) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(at)));
  }
  static void start_channels(Acc (&acc)[4], const std::byte* bias) {
    for (Acc& a : acc) a = four(bias);
  }
  template <bool kSigned>
  static void mac_channels(Acc (&acc)[4], const Reg (&value)[4], const std::byte* weights) {
    const __m256i weight = four(weights);
    const __m256i a = _mm256_unpacklo_epi8(value[0], value[1]);
    const __m256i b = _mm256_unpackhi_epi8(value[0], value[1]);
    const __m256i c = _mm256_unpacklo_epi8(value[2], value[3]);
    const __m256i d = _mm256_unpackhi_epi8(value[2], value[3]);
    mac<kSigned>(acc[0], _mm256_unpacklo_epi16(a, c), weight);
    mac<kSigned>(acc[1], _mm256_unpackhi_epi16(a, c), weight);
    mac<kSigned>(acc[2], _mm256_unpacklo_epi16(b, d), weight);
    mac<kSigned>(acc[3], _mm256_unpackhi_epi16(b, d), weight);
  }
  template <bool kSignedOut>
  static Reg pack_channels(const Acc (&acc)[4], const float* multiplier) {
    const __m256 m = _mm256_castsi256_ps(four(multiplier));
    return saturate<kSignedOut>(scale(acc[0], m), scale(acc[1], m), scale(acc[2], m),
                                scale(acc[3], m));
  }
};

template <class Lanes>
struct Fp32 : Lanes {
  static constexpr bool kInt8 = false;
  static constexpr int kVectors = 2;
  using Reg = __m256;
  using Acc = __m256;
  using Weight = __m256;

  template <bool>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    return _mm256_castsi256_ps(fetch(at, offset));
  }
  static Weight weight(const std::byte* at) { return _mm256_set1_ps(get<float>(at)); }
  static Acc start(const std::byte* bias) { return weight(bias); }
  static Acc larger(Acc a, Acc b) { return _mm256_max_ps(a, b); }
  static Acc relu(Acc a) { return _mm256_max_ps(a, _mm256_setzero_ps()); }
  template <bool>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc = _mm256_fmadd_ps(value, weight, acc);
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    Lanes::put_all(_mm256_castps_si256(value), plane, units);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    if constexpr (Lanes::kPixels > 1) {
      value = larger(value, _mm256_castsi256_ps(Lanes::neighbour(_mm256_castps_si256(value))));
    }
    Lanes::put_even(_mm256_castps_si256(value), plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const* units) {
    alignas(32) float values[8];
    _mm256_store_ps(values, acc);
    add_lanes<Lanes>(sums, channel, values, units);
  }
};

}  // namespace bits256
}  // namespace
}  // namespace mnistkit::engine
