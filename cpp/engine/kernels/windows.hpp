// The int8 input for a first convolution: each element is a window of four neighbouring pixels,
// so that a dot product takes four taps of a row. A byte x is the integer x >> 1, which is
// round(x * 127 / 255).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../plan.hpp"

namespace mnistkit::engine {
namespace {

// Half of each of eight bytes.
inline std::uint64_t halves(std::uint64_t bytes) { return bytes >> 1 & 0x7f7f7f7f7f7f7f7f; }

// One image. V::expand makes the windows of kPixels or more pixels from the bytes of a row, and
// may read 32 bytes; what it writes past the end of a row is the next row's, or slack.
//
// The whole image is halved first: a row read again at once, in other pieces than it was written
// in, would wait for its stores.
template <class V>
void windows_of_pixels(const Map& map, const std::uint8_t* image, std::byte* out) {
  constexpr std::uint32_t kStride = static_cast<std::uint32_t>(V::kUnits) * V::kPixels;
  constexpr std::uint32_t kWidest = kSide + 2 * 15, kRow = round_up(kWidest, 16) + 32;
  static_assert(kSide % 4 == 0 && kSide >= 8);
  const std::uint32_t border = map.border, height = kSide + 2 * border;
  alignas(64) std::uint8_t rows[kWidest * kRow];
  std::memset(rows, 0, std::size_t{height} * kRow);
  for (std::uint32_t y = 0; y < kSide; ++y) {
    const std::uint8_t* from = image + y * kSide;
    std::uint8_t* to = rows + (border + y) * kRow + border;
    for (std::uint32_t x = 0; x < kSide; x += 8) {
      const std::uint32_t at = x + 8 <= kSide ? x : kSide - 8;  // the last eight overlap
      std::uint64_t bytes;
      std::memcpy(&bytes, from + at, 8);
      bytes = halves(bytes);
      std::memcpy(to + at, &bytes, 8);
    }
  }
  for (std::uint32_t y = 0; y < height; ++y, out += map.pitch * 4) {
    for (std::uint32_t x = 0; x < map.pitch; x += kStride) {
      V::expand(rows + y * kRow + x, out + x * 4);
    }
  }
}

// kImages images. A window is cut out of two words of four pixels.
template <class V>
void windows_of_images(const Map& map, const std::uint8_t* images, std::size_t count,
                       std::byte* out) {
  using Word = typename V::Word;
  constexpr std::uint32_t kMargin = 4, kWords = kSide / 4;
  const std::uint32_t border = map.border, height = kSide + 2 * border;
  std::int32_t offsets[V::kImages];
  for (std::uint32_t lane = 0; lane < V::kImages; ++lane) {
    const std::size_t image = lane < count ? lane : count - 1;
    offsets[lane] = static_cast<std::int32_t>(image * kImageBytes);
  }
  const auto index = V::index(offsets);
  Word words[kWords + 2 * kMargin + 1] = {};  // zeros on both sides: the border
  for (std::uint32_t y = 0; y < height; ++y) {
    const bool inside = y >= border && y < border + kSide;
    for (std::uint32_t w = 0; w < kWords; ++w) {
      words[kMargin + w] =
          inside ? V::pixels(images + (y - border) * kSide + w * 4, index) : Word{};
    }
    for (std::uint32_t x = 0; x < map.pitch; ++x, out += V::kImages * 4) {
      const std::uint32_t at = x + kMargin * 4 - border;  // in pixels from the first word
      V::put_word(out, V::shift(words[at / 4], words[at / 4 + 1], static_cast<int>(at % 4 * 8)));
    }
  }
}

}  // namespace
}  // namespace mnistkit::engine
