// Pillow's bilinear resize of floats.
#pragma once

#include <cstddef>
#include <vector>

#include "image/ink.hpp"

namespace mnistkit::image {

/// The box of a height * width picture, scaled to `rows` * `columns`; each result is a mean over
/// all that it covers, weighted by a triangle.
[[nodiscard]] std::vector<float> resize(const std::vector<float>& values, std::size_t height,
                                        std::size_t width, const Ink::Box& box, std::size_t rows,
                                        std::size_t columns);

}  // namespace mnistkit::image
