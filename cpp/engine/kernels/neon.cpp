// NEON as every 64-bit Arm has it.
#if defined(__aarch64__)
#include "neon.hpp"

namespace mnistkit::engine {
namespace {

// Two products of bytes fit into 16 bits: a weight is at least -127 (docs/explanations/int8.md).
struct WideningProduct {
  static int32x4_t add(int32x4_t acc, int8x16_t value, int8x16_t weight) {
    const int16x8_t low = vmull_s8(vget_low_s8(value), vget_low_s8(weight));
    const int16x8_t high = vmull_high_s8(value, weight);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
  }
};

}  // namespace

static constexpr Paths kInt8 = {path<Int8<Pixels, WideningProduct>>(),
                                path<Int8<Images, WideningProduct>>(),
                                peak<Int8<Images, WideningProduct>>};
extern const Paths kNeonFp32;  // the dot product's set's too
constinit const Paths kNeonFp32 = {path<Fp32<Pixels>>(), path<Fp32<Images>>(), peak<Fp32<Images>>};

extern const KernelSet kNeon;
constinit const KernelSet kNeon = {"neon", "NEON", [] { return true; }, &kInt8, &kNeonFp32};

}  // namespace mnistkit::engine
#endif
