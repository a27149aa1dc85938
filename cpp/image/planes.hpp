// A picture as floats, on an opaque background.
#pragma once

#include <cstddef>
#include <vector>

#include "mnistkit/image.hpp"

namespace mnistkit::image {

/// `values` are height * width * channels, 0 to 255; 1 or 3 channels.
struct Planes {
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t channels = 1;
  std::vector<float> values;

  [[nodiscard]] const float* row(std::size_t y) const {
    return values.data() + y * width * channels;
  }
};

/// Halves a large picture, or more, and lays a transparent one on a background that shows its ink.
[[nodiscard]] Planes to_planes(const Picture& picture, bool invert);

/// The part of rows top to bottom and columns left to right, ends not included.
[[nodiscard]] Planes crop(const Planes& planes, std::size_t top, std::size_t bottom,
                          std::size_t left, std::size_t right);

}  // namespace mnistkit::image
