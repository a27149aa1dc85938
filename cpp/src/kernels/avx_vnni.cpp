// AVX-VNNI: the dot product of AVX-512 VNNI on 256 bits, for CPUs without AVX-512.
#include <cpuid.h>

#include "x86_256.hpp"

namespace mnistkit::engine {
namespace {

struct VnniDot {
  template <bool>
  static __m256i add(__m256i acc, __m256i value, __m256i weight) {
    return _mm256_dpbusd_avx_epi32(acc, value, weight);
  }
};

bool supported() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  // Leaf 7, subleaf 1, EAX bit 4; compilers' own checks do not all know the name.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1) != 0;
}

}  // namespace

static constexpr Paths kInt8 = {path<bits256::Int8<bits256::Pixels, VnniDot>, true>(),
                                path<bits256::Int8<bits256::Images, VnniDot>, true>(),
                                peak<bits256::Int8<bits256::Images, VnniDot>>};
extern const Paths kAvx2Fp32;

extern const KernelSet kAvxVnni;
const KernelSet kAvxVnni = {"avx-vnni", "AVX2 with VNNI", supported, &kInt8, &kAvx2Fp32};

}  // namespace mnistkit::engine
