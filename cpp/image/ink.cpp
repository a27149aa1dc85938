#include "image/ink.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "image/numeric.hpp"

namespace mnistkit::image {
namespace {

constexpr double kLeastContrast = 20.0;  // levels of 255 between background and ink
constexpr double kLeastToNoise = 3.5;    // the same, in standard deviations of the background
constexpr double kNoise = 2.0;           // standard deviations that are taken for no ink

/// Averages over a square of 2 * radius + 1 pixels, with running sums as numpy.cumsum has them.
std::vector<float> blur(const std::vector<float>& values, std::size_t height, std::size_t width,
                        std::size_t channels, std::size_t radius) {
  if (radius == 0) return values;
  const std::size_t side = 2 * radius + 1;
  std::vector<double> now(values.begin(), values.end());
  std::vector<double> sums;
  for (const bool down : {true, false}) {
    const std::size_t size = down ? height : width;
    const std::size_t lines = down ? width * channels : height * channels;
    const std::size_t step = down ? width * channels : channels;
    for (std::size_t line = 0; line < lines; ++line) {
      double* first =
          now.data() + (down ? line : line / channels * width * channels + line % channels);
      // The border is repeated radius + 1 times before and radius times after.
      sums.resize(size + side);
      double sum = 0;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        const std::size_t at = i <= radius ? 0 : std::min(i - radius - 1, size - 1);
        const double value = first[at * step];
        sum = i == 0 ? value : sum + value;
        sums[i] = sum;
      }
      for (std::size_t i = 0; i < size; ++i) {
        first[i * step] = (sums[i + side] - sums[i]) / static_cast<double>(side);
      }
    }
  }
  return {now.begin(), now.end()};
}

/// The colour direction, of length 1, in which the strongest differences lie.
std::array<float, 3> direction_of(const Planes& difference) {
  const std::size_t channels = difference.channels;
  const std::size_t pixels = difference.height * difference.width;
  const std::size_t radius = std::max({difference.height, difference.width, channels}) / 300;
  const std::vector<float> smooth =
      blur(difference.values, difference.height, difference.width, channels, radius);
  std::vector<float> strength(pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    float sum = 0;
    for (std::size_t c = 0; c < channels; ++c) {
      const float value = smooth[i * channels + c];
      sum += value * value;
    }
    strength[i] = std::sqrt(sum);
  }
  const float half = *std::max_element(strength.begin(), strength.end()) / 2;
  std::array<float, 3> strong{};
  for (std::size_t i = 0; i < pixels; ++i) {
    if (strength[i] < half) continue;
    for (std::size_t c = 0; c < channels; ++c) strong[c] += difference.values[i * channels + c];
  }
  float square = 0;
  for (std::size_t c = 0; c < channels; ++c) square += strong[c] * strong[c];
  const float length = std::sqrt(square);
  for (std::size_t c = 0; c < channels; ++c) {
    strong[c] = length == 0 ? static_cast<float>(1 / std::sqrt(static_cast<double>(channels)))
                            : strong[c] / length;
  }
  return strong;
}

/// Differences, positive at the ink, as amounts of ink.
std::optional<Ink> separate(const std::vector<float>& along, std::size_t height,
                            std::size_t width) {
  std::vector<float> smooth;
  float peak = 0;
  double noise = 0;
  std::size_t reach = 0;
  // As little blur as the noise needs: none for a clean picture.
  for (const std::size_t radius : {0U, 1U, 2U, 4U}) {
    reach = radius;
    smooth = blur(along, height, width, 1, radius);
    peak = *std::max_element(smooth.begin(), smooth.end());
    std::vector<float> rest;
    for (const float value : smooth) {
      if (std::abs(value) < peak / 2) rest.push_back(std::abs(value));
    }
    // By the lower quartile, for soft edges take up much of a small picture.
    noise = rest.empty() ? 0.0 : 3.14 * double{quantile(std::move(rest), 0.25)};
    if (double{peak} > 8 * noise || 50 * 2 * radius > std::max(height, width)) break;
  }
  float level = peak;
  for (int turn = 0; turn < 4; ++turn) {
    std::vector<float> above;
    for (const float value : smooth) {
      if (value > level / 2) above.push_back(value);
    }
    if (above.empty()) return std::nullopt;
    level = median(std::move(above));
  }
  if (double{level} < std::max(kLeastContrast, kLeastToNoise * noise)) return std::nullopt;
  const double low = std::min(kNoise * noise, double{level} / 4);
  const auto start = static_cast<float>(low), span = static_cast<float>(double{level} - low);
  Ink ink{height, width, {}, {}, level};
  ink.mask.reserve(smooth.size());
  for (const float value : smooth) ink.mask.push_back(value > level / 2);
  const Mask kept = without_dirt(ink.mask, height, width, reach);
  ink.amount.resize(smooth.size());
  for (std::size_t i = 0; i < smooth.size(); ++i) {
    ink.amount[i] = kept[i] ? std::clamp((smooth[i] - start) / span, 0.0F, 1.0F) : 0.0F;
    ink.mask[i] &= kept[i];
  }
  return ink;
}

}  // namespace

Ink::Box Ink::bounds() const {
  Box box{height, 0, width, 0};
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      if (!mask[y * width + x]) continue;
      box.top = std::min(box.top, y);
      box.bottom = y + 1;
      box.left = std::min(box.left, x);
      box.right = std::max(box.right, x + 1);
    }
  }
  return box;
}

std::optional<Ink> find_ink(const Planes& picture) {
  Planes difference = background(picture);
  for (std::size_t i = 0; i < difference.values.size(); ++i) {
    difference.values[i] = picture.values[i] - difference.values[i];
  }
  const std::array<float, 3> direction = direction_of(difference);
  std::vector<float> along(picture.height * picture.width);
  for (std::size_t i = 0; i < along.size(); ++i) {
    const float* value = difference.values.data() + i * picture.channels;
    float sum = value[0] * direction[0];
    for (std::size_t c = 1; c < picture.channels; ++c) sum += value[c] * direction[c];
    along[i] = sum;
  }
  return separate(along, picture.height, picture.width);
}

}  // namespace mnistkit::image
