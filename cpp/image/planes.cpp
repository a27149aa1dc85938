// The arithmetic of Pillow's Image.reduce and of preprocess.py's _planes and _opaque.
#include "image/planes.hpp"

#include <algorithm>
#include <cstdint>

#include "image/numeric.hpp"

namespace mnistkit::image {
namespace {

constexpr std::size_t kWorkingSide = 1600;  // a larger picture is made smaller first
constexpr std::size_t kLeastSide = 4;

std::uint8_t times(unsigned a, unsigned b) {  // a * b / 255, rounded
  const unsigned product = a * b + 128;
  return static_cast<std::uint8_t>(((product >> 8) + product) >> 8);
}

void premultiply(Picture& picture) {
  for (std::size_t i = 0; i < picture.pixels.size(); i += 4) {
    std::uint8_t* pixel = picture.pixels.data() + i;
    for (int c = 0; c < 3; ++c) pixel[c] = times(pixel[c], pixel[3]);
  }
}

void divide_by_alpha(Picture& picture) {
  for (std::size_t i = 0; i < picture.pixels.size(); i += 4) {
    std::uint8_t* pixel = picture.pixels.data() + i;
    const unsigned alpha = pixel[3];
    if (alpha == 0 || alpha == 255) continue;
    for (int c = 0; c < 3; ++c) {
      pixel[c] = static_cast<std::uint8_t>(std::min(255 * unsigned{pixel[c]} / alpha, 255U));
    }
  }
}

/// The mean of each factor by factor block; blocks at the right and lower border may be smaller.
Picture reduce(const Picture& in, std::size_t factor) {
  Picture out{ceil_div(in.width, factor), ceil_div(in.height, factor), in.channels, {}};
  out.pixels.resize(out.width * out.height * out.channels);
  std::uint8_t* to = out.pixels.data();
  for (std::size_t y = 0; y < out.height; ++y) {
    const std::size_t rows = std::min(factor, in.height - y * factor);
    for (std::size_t x = 0; x < out.width; ++x) {
      const std::size_t columns = std::min(factor, in.width - x * factor);
      const auto area = static_cast<std::uint32_t>(rows * columns);
      // In 32 bits, with the precision of a float.
      const auto multiplier =
          static_cast<std::uint32_t>(4294967296.0F / static_cast<float>(256 * area));
      for (std::size_t c = 0; c < in.channels; ++c) {
        std::uint32_t sum = area / 2;
        for (std::size_t row = 0; row < rows; ++row) {
          const std::uint8_t* from =
              in.pixels.data() + ((y * factor + row) * in.width + x * factor) * in.channels + c;
          for (std::size_t i = 0; i < columns; ++i) sum += from[i * in.channels];
        }
        *to++ = static_cast<std::uint8_t>((sum * multiplier) >> 24);
      }
    }
  }
  return out;
}

/// What ink stands on where the picture is transparent, as r, g, b.
void find_ground(const std::vector<float>& solid, float (&ground)[3]) {
  const std::size_t count = solid.size() / 3;
  std::vector<float> greys(count);
  for (std::size_t i = 0; i < count; ++i) greys[i] = pairwise_sum(&solid[3 * i], 3) / 3;
  if (quantile(greys, 0.99) - quantile(greys, 0.01) > 64) {
    // It shows paper and ink; what is cut away around them was paper.
    for (std::size_t c = 0; c < 3; ++c) {
      std::vector<float> values(count);
      for (std::size_t i = 0; i < count; ++i) values[i] = solid[3 * i + c];
      ground[c] = median(std::move(values));
    }
    return;
  }
  // It is ink alone: a light one wants a dark ground.
  const float mean = pairwise_sum(solid.data(), solid.size()) / static_cast<float>(solid.size());
  std::fill(ground, ground + 3, mean > 127 ? 0.0F : 255.0F);
}

Planes opaque(const Picture& picture) {
  Planes planes{picture.height, picture.width, 3, {}};
  planes.values.assign(picture.height * picture.width * 3, 0.0F);
  std::vector<float> solid;
  for (std::size_t i = 0; i < picture.pixels.size(); i += 4) {
    const std::uint8_t* pixel = picture.pixels.data() + i;
    if (pixel[3] > 127) solid.insert(solid.end(), pixel, pixel + 3);
  }
  if (solid.empty()) return planes;
  float ground[3];
  find_ground(solid, ground);
  float* to = planes.values.data();
  for (std::size_t i = 0; i < picture.pixels.size(); i += 4) {
    const std::uint8_t* pixel = picture.pixels.data() + i;
    const float alpha = static_cast<float>(pixel[3]) / 255.0F;
    for (int c = 0; c < 3; ++c) {
      const float ink = static_cast<float>(pixel[c]) * alpha;
      const float behind = ground[c] * (1.0F - alpha);
      *to++ = ink + behind;
    }
  }
  return planes;
}

}  // namespace

Planes to_planes(const Picture& picture, bool invert) {
  Picture changed;
  const Picture* current = &picture;
  const bool alpha = picture.channels == 4;
  if (invert) {
    changed = picture;
    for (std::size_t i = 0; i < changed.pixels.size(); ++i) {
      if (!alpha || i % 4 != 3) changed.pixels[i] = static_cast<std::uint8_t>(~changed.pixels[i]);
    }
    current = &changed;
  }
  const auto [shorter, longer] = std::minmax(picture.width, picture.height);
  const std::size_t factor =
      std::max(std::min(ceil_div(longer, kWorkingSide), shorter / kLeastSide), std::size_t{1});
  if (factor > 1) {
    if (alpha) {
      if (current != &changed) changed = picture;
      premultiply(changed);
      changed = reduce(changed, factor);
      divide_by_alpha(changed);
    } else {
      changed = reduce(*current, factor);
    }
    current = &changed;
  }
  if (alpha) return opaque(*current);
  return {current->height,
          current->width,
          current->channels,
          {current->pixels.begin(), current->pixels.end()}};
}

Planes crop(const Planes& planes, std::size_t top, std::size_t bottom, std::size_t left,
            std::size_t right) {
  Planes part{bottom - top, right - left, planes.channels, {}};
  part.values.reserve(part.height * part.width * part.channels);
  for (std::size_t y = top; y < bottom; ++y) {
    const float* row = planes.row(y);
    part.values.insert(part.values.end(), row + left * planes.channels,
                       row + right * planes.channels);
  }
  return part;
}

}  // namespace mnistkit::image
