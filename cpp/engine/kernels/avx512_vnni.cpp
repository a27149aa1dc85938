// AVX-512 with VNNI: 64 multiply-adds of unsigned by signed bytes in one instruction.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu.hpp"
#include "peak.hpp"
#include "run.hpp"
#include "x86_256.hpp"

namespace mnistkit::engine {
namespace {

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// Sixteen lanes are two units of eight pixels.
struct Pixels {
  static constexpr int kUnits = 2;
  static constexpr std::uint32_t kPixels = 8, kImages = 1;
  static constexpr int kVectors = 4;

  static __m512i fetch(const std::byte* const* at, std::size_t offset) {
    const auto low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[0] + offset));
    const auto high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[1] + offset));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  static void put_all(__m512i value, std::byte* plane, const Unit* const* units) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(plane + units[0]->out),
                        _mm512_castsi512_si256(value));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(plane + units[1]->out),
                        _mm512_extracti64x4_epi64(value, 1));
  }
  // Lanes 0, 2, 4, ... hold the pooled outputs.
  static void put_even(__m512i value, std::byte* plane, const Unit* const* units) {
    const __m256i even = _mm512_cvtepi64_epi32(value);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(plane + units[0]->out),
                     _mm256_castsi256_si128(even));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(plane + units[1]->out),
                     _mm256_extracti128_si256(even, 1));
  }
  // Bits 0..15: the lanes to be summed. A unit that only fills up the vector counts once.
  static __mmask16 mask(const Unit* const* units) {
    const std::uint32_t high = units[1] == units[0] ? 0 : units[1]->mask;
    return static_cast<__mmask16>(units[0]->mask | high << 8);
  }
  // The windows of sixteen pixels, from the bytes of a row.
  static void expand(const std::uint8_t* row, std::byte* to) {
    const __m512i bytes =
        _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
    const __m512i near = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 1, 0, 0, 1, 2, 0, 0, 2, 3, 0, 0, 3, 4, 0, 0), bytes);
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(near, order));
  }
  static __m512i neighbour(__m512i value) { return _mm512_srli_epi64(value, 32); }
};

// Sixteen lanes are the same pixel of sixteen images.
struct Images {
  static constexpr int kUnits = 1;
  static constexpr std::uint32_t kPixels = 1, kImages = 16;
  static constexpr int kVectors = 4;

  static __m512i fetch(const std::byte* const* at, std::size_t offset) {
    return _mm512_loadu_si512(at[0] + offset);
  }
  static void put_all(__m512i value, std::byte* plane, const Unit* const* units) {
    _mm512_storeu_si512(plane + units[0]->out, value);
  }
  static void put_even(__m512i value, std::byte* plane, const Unit* const* units) {
    put_all(value, plane, units);
  }
  using Word = __m512i;
  using Index = __m512i;
  static Index index(const std::int32_t* offsets) { return _mm512_loadu_si512(offsets); }
  // Four neighbouring pixels of each image, as integers 0..127.
  static Word pixels(const std::uint8_t* at, Index offsets) {
    const Word four = _mm512_i32gather_epi32(offsets, at, 1);
    return _mm512_and_si512(_mm512_srli_epi32(four, 1), _mm512_set1_epi8(127));
  }
  static Word shift(Word low, Word high, int bits) {
    return _mm512_or_si512(_mm512_srl_epi32(low, _mm_cvtsi32_si128(bits)),
                           _mm512_sll_epi32(high, _mm_cvtsi32_si128(32 - bits)));
  }
  static void put_word(std::byte* at, Word value) { _mm512_storeu_si512(at, value); }
};

struct HalfDot {
  template <bool>
  static __m256i add(__m256i acc, __m256i value, __m256i weight) {
    return _mm256_dpbusd_epi32(acc, value, weight);
  }
};

template <class Lanes>
struct Int8 : Lanes {
  static constexpr bool kInt8 = true;
  using Reg = __m512i;
  using Acc = __m512i;
  using Weight = __m512i;

  template <bool>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    return Lanes::fetch(at, offset);
  }
  static Weight weight(const std::byte* at) { return _mm512_set1_epi32(get<int>(at)); }
  static Acc start(const std::byte* bias) { return _mm512_set1_epi32(get<int>(bias)); }
  static Acc larger(Acc a, Acc b) { return _mm512_max_epi32(a, b); }
  template <bool>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc = _mm512_dpbusd_epi32(acc, value, weight);
  }
  static __m512i scale(Acc acc, __m512 multiplier) {
    const __m512 real = _mm512_cvt_roundepi32_ps(acc, kNearest);
    return _mm512_cvt_roundps_epi32(_mm512_mul_round_ps(real, multiplier, kNearest), kNearest);
  }
  // Saturates to bytes, the parts' lanes a b c d side by side in each 128 bits.
  template <bool kSignedOut>
  static __m512i saturate(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_packs_epi32(a, b), cd = _mm512_packs_epi32(c, d);
    if constexpr (kSignedOut) {
      return _mm512_xor_si512(_mm512_packs_epi16(ab, cd), _mm512_set1_epi8(-128));
    } else {
      return _mm512_max_epi8(_mm512_packs_epi16(ab, cd), _mm512_setzero_si512());
    }
  }
  template <bool kSignedOut>
  static Reg pack(const Acc (&acc)[4], const float* multiplier) {
    __m512i q[4];
    MNISTKIT_UNROLL
    for (int o = 0; o < 4; ++o) q[o] = scale(acc[o], _mm512_set1_ps(multiplier[o]));
    const __m512i bytes = saturate<kSignedOut>(q[0], q[1], q[2], q[3]);
    const __m512i transpose =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    return _mm512_shuffle_epi8(bytes, transpose);
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    Lanes::put_all(value, plane, units);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    if constexpr (Lanes::kPixels > 1) value = _mm512_max_epu8(value, Lanes::neighbour(value));
    Lanes::put_even(value, plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const* units) {
    std::byte* sum = sums + channel * 4 * Lanes::kImages;
    if constexpr (Lanes::kPixels > 1) {
      put(sum, get<int>(sum) + _mm512_mask_reduce_add_epi32(Lanes::mask(units), acc));
    } else {
      _mm512_storeu_si512(sum, _mm512_add_epi32(_mm512_loadu_si512(sum), acc));
    }
  }

  // Depthwise: lanes are the four channels of four pixels or images.
  static Reg zero() { return _mm512_setzero_si512(); }
  static __m512i four(const void* at) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(at)));
  }
  static void start_channels(Acc (&acc)[4], const std::byte* bias) {
    for (Acc& a : acc) a = four(bias);
  }
  template <bool>
  static void mac_channels(Acc (&acc)[4], const Reg (&value)[4], const std::byte* weights) {
    const __m512i weight = four(weights);
    const __m512i a = _mm512_unpacklo_epi8(value[0], value[1]);
    const __m512i b = _mm512_unpackhi_epi8(value[0], value[1]);
    const __m512i c = _mm512_unpacklo_epi8(value[2], value[3]);
    const __m512i d = _mm512_unpackhi_epi8(value[2], value[3]);
    acc[0] = _mm512_dpbusd_epi32(acc[0], _mm512_unpacklo_epi16(a, c), weight);
    acc[1] = _mm512_dpbusd_epi32(acc[1], _mm512_unpackhi_epi16(a, c), weight);
    acc[2] = _mm512_dpbusd_epi32(acc[2], _mm512_unpacklo_epi16(b, d), weight);
    acc[3] = _mm512_dpbusd_epi32(acc[3], _mm512_unpackhi_epi16(b, d), weight);
  }
  template <bool kSignedOut>
  static Reg pack_channels(const Acc (&acc)[4], const float* multiplier) {
    const __m512 m = _mm512_castsi512_ps(four(multiplier));
    return saturate<kSignedOut>(scale(acc[0], m), scale(acc[1], m), scale(acc[2], m),
                                scale(acc[3], m));
  }
};

template <class Lanes>
struct Fp32 : Lanes {
  static constexpr bool kInt8 = false;
  using Reg = __m512;
  using Acc = __m512;
  using Weight = __m512;

  template <bool>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    return _mm512_castsi512_ps(Lanes::fetch(at, offset));
  }
  static Weight weight(const std::byte* at) { return _mm512_set1_ps(get<float>(at)); }
  static Acc start(const std::byte* bias) { return weight(bias); }
  static Acc larger(Acc a, Acc b) { return _mm512_max_ps(a, b); }
  static Acc relu(Acc a) { return _mm512_max_ps(a, _mm512_setzero_ps()); }
  template <bool>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc = _mm512_fmadd_ps(value, weight, acc);
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    Lanes::put_all(_mm512_castps_si512(value), plane, units);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    if constexpr (Lanes::kPixels > 1) {
      value = larger(value, _mm512_castsi512_ps(Lanes::neighbour(_mm512_castps_si512(value))));
    }
    Lanes::put_even(_mm512_castps_si512(value), plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const* units) {
    std::byte* sum = sums + channel * 4 * Lanes::kImages;
    if constexpr (Lanes::kPixels > 1) {
      put(sum, get<float>(sum) + _mm512_mask_reduce_add_ps(Lanes::mask(units), acc));
    } else {
      _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), acc));
    }
  }
};

struct PixelsInt8 : Int8<Pixels> {
  using Half = bits256::Int8<bits256::Pixels, HalfDot>;
};
struct PixelsFp32 : Fp32<Pixels> {
  using Half = bits256::Fp32<bits256::Pixels>;
};

}  // namespace

static constexpr Paths kInt8 = {path<PixelsInt8, true>(), path<Int8<Images>, true>(),
                                peak<Int8<Images>>};
static constexpr Paths kFp32 = {path<PixelsFp32>(), path<Fp32<Images>>(), peak<Fp32<Images>>};

extern const KernelSet kAvx512Vnni;
constinit const KernelSet kAvx512Vnni = {"avx512-vnni", "AVX-512 with VNNI", cpu_has_avx512_vnni,
                                         &kInt8, &kFp32};

}  // namespace mnistkit::engine
#endif
