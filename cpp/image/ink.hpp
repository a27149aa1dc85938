// Finding the ink in a picture, as python/mnistkit/pictures/ink.py does.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "image/planes.hpp"

namespace mnistkit::image {

using Mask = std::vector<std::uint8_t>;  // 0 or 1, height * width

struct Ink {
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<float> amount;  ///< 0 to 1, exactly 0 away from the ink
  Mask mask;                  ///< where the amount is more than a half
  float contrast = 0.0F;      ///< between ink and background, in levels of 255

  /// The box around the mask: rows top to bottom, columns left to right, ends not included.
  struct Box {
    std::size_t top, bottom, left, right;
  };
  [[nodiscard]] Box bounds() const;
};

/// The ink, or nothing where nothing stands out from the background. At least 3 by 3 pixels.
[[nodiscard]] std::optional<Ink> find_ink(const Planes& picture);

/// The background: a quadratic surface for each channel, fitted to the border, then to all near it.
[[nodiscard]] Planes background(const Planes& picture);

/// Marks the surroundings of the pieces of ink that can be the digit, `reach` pixels wide.
[[nodiscard]] Mask without_dirt(const Mask& mask, std::size_t height, std::size_t width,
                                std::size_t reach);

}  // namespace mnistkit::image
