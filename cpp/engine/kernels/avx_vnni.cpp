// AVX-VNNI: the dot product of AVX-512 VNNI on 256 bits, for CPUs without AVX-512.
#if defined(__x86_64__)
#include "cpu.hpp"
#include "x86_256.hpp"

namespace mnistkit::engine {
namespace {

struct VnniDot {
  template <bool>
  static __m256i add(__m256i acc, __m256i value, __m256i weight) {
    return _mm256_dpbusd_avx_epi32(acc, value, weight);
  }
};

}  // namespace

static constexpr Paths kInt8 = {path<bits256::Int8<bits256::Pixels, VnniDot>, true>(),
                                path<bits256::Int8<bits256::Images, VnniDot>, true>(),
                                peak<bits256::Int8<bits256::Images, VnniDot>>};
extern const Paths kAvx2Fp32;

extern const KernelSet kAvxVnni;
constinit const KernelSet kAvxVnni = {"avx-vnni", "AVX2 with VNNI", cpu_has_avx_vnni, &kInt8,
                                      &kAvx2Fp32};

}  // namespace mnistkit::engine
#endif
