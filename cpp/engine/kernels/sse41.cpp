// SSE4.1: pairs of products in 16 bits, then pairs of pairs in 32, as AVX2 does it.
#if defined(__x86_64__)  // -m32 leaves nothing of this file
#include <smmintrin.h>

#include "bits128.hpp"
#include "cpu.hpp"

namespace mnistkit::engine {
namespace {

using bits128::Int4, bits128::Real4, bits128::Word4;

struct Sse : bits128::Shuffles<Sse> {
  using Weight = __m128i;
  static Weight weight(Word4 bytes) { return reinterpret_cast<__m128i>(bytes); }

  // A pair is at most 2 * 127 * 127, or 2 * 128 * 127 where values are signed: 16 bits hold it.
  template <bool kSigned>
  MNISTKIT_INLINE static Int4 add(Int4 acc, Word4 bytes, Weight weight) {
    const auto value = reinterpret_cast<__m128i>(bytes);
    const __m128i pairs = kSigned
                              ? _mm_maddubs_epi16(_mm_abs_epi8(value), _mm_sign_epi8(weight, value))
                              : _mm_maddubs_epi16(value, weight);
    return acc + reinterpret_cast<Int4>(_mm_madd_epi16(pairs, _mm_set1_epi16(1)));
  }
  MNISTKIT_INLINE static Int4 scale(Int4 acc, Real4 multiplier) {
    const __m128 real = _mm_cvtepi32_ps(reinterpret_cast<__m128i>(acc));
    return reinterpret_cast<Int4>(
        _mm_cvtps_epi32(_mm_mul_ps(real, reinterpret_cast<__m128>(multiplier))));
  }
  MNISTKIT_INLINE static __m128i saturate(Int4 a, Int4 b, Int4 c, Int4 d) {
    return _mm_packs_epi16(
        _mm_packs_epi32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)),
        _mm_packs_epi32(reinterpret_cast<__m128i>(c), reinterpret_cast<__m128i>(d)));
  }
};

}  // namespace

static constexpr Path kPath = path<bits128::Int8<Sse>>();
static constexpr Paths kInt8 = {kPath, kPath, peak<bits128::Int8<Sse>>};
extern const Paths kVectorFp32;

extern const KernelSet kSse41;
constinit const KernelSet kSse41 = {"sse4.1", "SSE4.1", cpu_has_sse41, &kInt8, &kVectorFp32};

}  // namespace mnistkit::engine
#endif
