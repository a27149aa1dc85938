// PNG files that hold one digit as the net wants it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mnistkit::apps {

/// Reads a 28x28 PNG, 8 bits a channel, not interlaced: grey, grey with alpha, RGB, RGBA or
/// palette. Colours become luma; what is transparent becomes background (0). Gives 784 bytes.
/// Throws `ImageError` for anything else, saying what it is.
[[nodiscard]] std::vector<std::uint8_t> decode_png(std::span<const std::uint8_t> file);

}  // namespace mnistkit::apps
