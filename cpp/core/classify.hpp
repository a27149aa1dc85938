// From logits to a prediction, and the checks on what a caller passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mnistkit/types.hpp"

namespace mnistkit::detail {

/// The class with the highest logit (the lowest class among equals) and its softmax probability.
[[nodiscard]] Prediction predict(std::span<const float, kClasses> logits) noexcept;

/// The number of images in `images`; throws `Error(invalid_argument)` unless it is whole, and if
/// `images` is null and not empty.
[[nodiscard]] std::size_t count_images(std::span<const std::uint8_t> images);

/// Throws `Error(invalid_argument)` unless `got` is `wanted`, and if `data` is null and
/// `wanted` is not 0.
void check_output(const void* data, std::size_t got, std::size_t wanted, const char* what);

}  // namespace mnistkit::detail
