// The plan: what a kernel set needs to know to run a net, worked out once when it is opened.
//
// A map is stored as planes of 4-byte elements, [plane][y][x][image]: for int8 an element is one
// pixel's four neighbouring channels, for fp32 one value. Around each plane runs the border that
// the next convolution wants, and behind it some slack, since kernels store whole units.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model.hpp"

namespace mnistkit::engine {

inline constexpr std::uint32_t kMaxUnit = 8;
inline constexpr std::size_t kScratchAlign = 64;

// How a kernel set fills its lanes: `unit` neighbouring pixels of one image, or one pixel of
// `images` images.
struct Lanes {
  std::uint32_t unit, images;
  bool offset_bias;  // the set multiplies signed maps as unsigned ones, 128 too large
};

// What is computed and stored together: `unit` outputs, or as many 2x2 pool windows / 2 in a row.
struct Unit {
  std::uint32_t in, out;  // bytes from the start of a plane
  std::uint32_t mask;     // lanes that hold an output
};

struct Map {
  Shape shape;           // without the border; channels are the real ones
  std::uint32_t border;  // pixels on each side
  std::uint32_t pitch;   // elements from a row to the next
  std::uint32_t plane;   // elements from a plane to the next
  std::uint32_t planes;
  std::size_t offset;  // bytes into the scratch
  bool is_signed;      // int8: integers are stored 128 too large, so that bytes are unsigned

  MNISTKIT_INLINE std::uint32_t first() const { return border * pitch + border; }
};

enum class StepKind { windows, input, conv, depthwise, general_conv, max_pool, avg_pool, logits };

struct Step {
  StepKind kind;
  const Op* op;
  Map in, out;
  bool sums;    // the accumulators are summed over the map, for logits
  bool pooled;  // a 2x2 max pool follows and is done here
  std::uint32_t taps;
  const std::uint32_t* tap;  // bytes from a unit's `in`, for each step of the weights
  const std::byte* bias;
  const Unit* units;
  std::uint32_t unit_count;
  const float* scale;  // of logits, [10]
};

struct Plan {
  Precision precision;
  Lanes lanes;
  std::uint32_t step_count;
  Step steps[kMaxOps + 2];
  std::size_t sums;  // bytes into the scratch, [12][images] int32 or float32
  std::size_t scratch_size;
  void* memory;  // holds all arrays
};

// Returns null where memory is lacking.
Plan* make_plan(const Model& model, Lanes lanes);
void free_plan(Plan* plan);

}  // namespace mnistkit::engine
