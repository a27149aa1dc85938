// NEON with the dot product of Armv8.2: 16 multiply-adds of signed bytes in one instruction.
#if defined(__aarch64__)
#include "cpu.hpp"
#include "neon.hpp"

namespace mnistkit::engine {
namespace {

struct DotProduct {
  static int32x4_t add(int32x4_t acc, int8x16_t value, int8x16_t weight) {
    return vdotq_s32(acc, value, weight);
  }
};

}  // namespace

static constexpr Paths kInt8 = {path<Int8<Pixels, DotProduct>>(), path<Int8<Images, DotProduct>>(),
                                peak<Int8<Images, DotProduct>>};
extern const Paths kNeonFp32;

extern const KernelSet kNeonDot;
constinit const KernelSet kNeonDot = {"neon-dot", "NEON with the Armv8.2 dot product",
                                      cpu_has_dot_product, &kInt8, &kNeonFp32};

}  // namespace mnistkit::engine
#endif
