// A net as the engine sees it: ops in order, pointing into the file's bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inline.hpp"

namespace mnistkit::engine {

inline constexpr std::uint32_t kSide = 28;
inline constexpr std::uint32_t kImageBytes = kSide * kSide;
inline constexpr std::uint32_t kClasses = 10;
inline constexpr std::uint32_t kMaxOps = 64;
inline constexpr std::uint32_t kMaxName = 63;

enum class Precision : std::uint32_t { fp32 = 0, int8 = 1 };
enum class OpKind : std::uint32_t { conv = 1, max_pool = 2, avg_pool = 3 };

struct Shape {
  std::uint32_t channels, height, width;

  MNISTKIT_INLINE std::uint32_t pixels() const { return height * width; }
};

MNISTKIT_INLINE constexpr std::uint32_t round_up(std::uint32_t value, std::uint32_t step) {
  return (value + step - 1) / step * step;
}

// Weights are [round_up(out, 4)][row_steps()][4 bytes]; a step is what one dot product takes.
struct Op {
  OpKind kind;
  Shape in, out;
  std::uint32_t kernel;  // of a convolution; a max pool's size
  std::uint32_t padding, stride, groups;
  bool relu, last;  // last: the accumulators become logits
  const std::byte* weights;
  const std::byte* bias;    // int32 or float32, [round_up(out, 4)]
  const float* multiplier;  // int8 convolutions, [round_up(out, 4)]
  float pool_multiplier;    // average pools

  MNISTKIT_INLINE std::uint32_t group_in() const { return in.channels / groups; }
  MNISTKIT_INLINE std::uint32_t padded_out() const { return round_up(out.channels, 4); }
  MNISTKIT_INLINE bool depthwise() const { return groups == in.channels && groups == out.channels; }

  // int8: four input channels a step, or four taps of a row where a group has one channel only.
  // fp32: one value a step.
  MNISTKIT_INLINE std::uint32_t row_steps(Precision precision) const {
    if (precision == Precision::fp32) return kernel * kernel * group_in();
    if (group_in() == 1) return kernel * (round_up(kernel, 4) / 4);
    return kernel * kernel * (round_up(group_in(), 4) / 4);
  }
};

struct Model {
  std::uint32_t version;  // of the file; for int8 the edition of the definition too
  Precision precision;
  std::uint32_t op_count;
  Op ops[kMaxOps];
  char name[kMaxName + 1];
  void* copies;  // see byte_order.hpp; null on a little-endian machine
};

}  // namespace mnistkit::engine
