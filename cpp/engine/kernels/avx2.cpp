// AVX2: pairs of products in 16 bits, then pairs of pairs in 32.
#if defined(__x86_64__)  // -m32 leaves nothing of this file
#include "cpu.hpp"
#include "x86_256.hpp"

namespace mnistkit::engine {
namespace {

// A pair is at most 2 * 127 * 127, or 2 * 128 * 127 where values are signed: 16 bits hold it.
struct PairDot {
  template <bool kSigned>
  static __m256i add(__m256i acc, __m256i value, __m256i weight) {
    const __m256i pairs =
        kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(value), _mm256_sign_epi8(weight, value))
                : _mm256_maddubs_epi16(value, weight);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace

static constexpr Paths kInt8 = {path<bits256::Int8<bits256::Pixels, PairDot>>(),
                                path<bits256::Int8<bits256::Images, PairDot>>(),
                                peak<bits256::Int8<bits256::Images, PairDot>>};
extern const Paths kAvx2Fp32;  // AVX-VNNI's too
constinit const Paths kAvx2Fp32 = {path<bits256::Fp32<bits256::Pixels>>(),
                                   path<bits256::Fp32<bits256::Images>>(),
                                   peak<bits256::Fp32<bits256::Images>>};

extern const KernelSet kAvx2;
constinit const KernelSet kAvx2 = {"avx2", "AVX2 and FMA", cpu_has_avx2, &kInt8, &kAvx2Fp32};

}  // namespace mnistkit::engine
#endif
