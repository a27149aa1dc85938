// Any picture of a digit as MNIST would have it: python/mnistkit/pictures/preprocess.py, step by
// step.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "image/ink.hpp"
#include "image/numeric.hpp"
#include "image/planes.hpp"
#include "image/refuse.hpp"
#include "image/resample.hpp"
#include "mnistkit/image.hpp"

namespace mnistkit {
namespace image {
namespace {

using Image = std::array<std::uint8_t, kImageBytes>;

constexpr std::size_t kBox = 20;     // the longer side of a digit
constexpr std::size_t kFine = 8;     // pixels across one of MNIST's while the digit is framed
constexpr double kThin = 2.0;        // pixels; most of MNIST's digits have a thicker line
constexpr std::uint8_t kBlack = 32;  // a border this dark, at 28 by 28, is MNIST's own

struct Grid {
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<float> values;
};

/// The picture itself where it has MNIST's framing already.
std::optional<Image> as_mnist(const Planes& planes) {
  Image grey;
  for (std::size_t i = 0; i < kImageBytes; ++i) {
    const float sum = pairwise_sum(planes.values.data() + i * planes.channels, planes.channels);
    grey[i] = static_cast<std::uint8_t>(std::nearbyint(sum / static_cast<float>(planes.channels)));
  }
  // MNIST has a few digits that touch the border.
  std::size_t black = 0;
  for (std::size_t i = 0; i < kImageSide; ++i) {
    for (const std::size_t at :
         {i, kImageBytes - kImageSide + i, i * kImageSide, i * kImageSide + kImageSide - 1}) {
      black += grey[at] <= kBlack;
    }
  }
  const double share = static_cast<double>(black) / (4.0 * kImageSide);
  if (*std::max_element(grey.begin(), grey.end()) < 3 * kBlack || share < 0.9) return std::nullopt;
  return grey;
}

/// The ink; where it turns out to be the paper, on a table or in a frame, the ink on that.
std::optional<Ink> digit_in(const Planes& planes) {
  std::optional<Ink> ink = find_ink(planes);
  if (!ink) return ink;
  const Ink::Box box = ink->bounds();
  const std::size_t height = box.bottom - box.top, width = box.right - box.left;
  std::size_t rim = 1 + std::min(height, width) / 50;
  if (std::min(height, width) < kImageSide + 2 * rim) return ink;
  std::size_t all = 0, inside = 0;
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      const std::size_t here = ink->mask[(box.top + y) * ink->width + box.left + x];
      all += here;
      if (y >= rim && y < height - rim && x >= rim && x < width - rim) inside += here;
    }
  }
  const auto size = static_cast<double>(height * width);
  const auto rim_size =
      static_cast<double>(height * width - (height - 2 * rim) * (width - 2 * rim));
  if (size < 0.15 * static_cast<double>(ink->mask.size()) ||
      static_cast<double>(all) / size < 0.6 ||
      static_cast<double>(all - inside) < 0.75 * rim_size) {
    return ink;
  }
  rim += std::min(height, width) / 50;
  const std::optional<Ink> written =
      find_ink(crop(planes, box.top + rim, box.bottom - rim, box.left + rim, box.right - rim));
  return written && written->contrast > ink->contrast / 4 ? written : ink;
}

/// Scales to kFine times the final size, leaving an empty margin inside it.
Grid resized(const Ink& ink, std::size_t margin) {
  const Ink::Box box = ink.bounds();
  const std::size_t longest = std::max(box.bottom - box.top, box.right - box.left);
  const auto scaled = [&](std::size_t size) {
    const auto wanted = static_cast<double>((kBox * kFine - 2 * margin) * size);
    return static_cast<std::size_t>(
        std::max(round_even(wanted / static_cast<double>(longest)), 1.0));
  };
  const std::size_t height = scaled(box.bottom - box.top), width = scaled(box.right - box.left);
  const std::vector<float> small = resize(ink.amount, ink.height, ink.width, box, height, width);
  // Filled up to whole final pixels, not stretched to them: the aspect stays.
  Grid fine{ceil_div(height + 2 * margin, kFine) * kFine,
            ceil_div(width + 2 * margin, kFine) * kFine,
            {}};
  fine.values.assign(fine.height * fine.width, 0.0F);
  for (std::size_t y = 0; y < height; ++y) {
    std::copy_n(small.data() + y * width, width,
                fine.values.data() + (y + margin) * fine.width + margin);
  }
  return fine;
}

/// The mean width of the ink's lines: a line of length l and width w has area l * w and a contour
/// of about 2 * l; on a grid the contour counts 4 / pi times too long.
double line_width(const Grid& fine) {
  std::size_t area = 0, steps = 0;
  const auto ink = [&](std::size_t y, std::size_t x) {
    return y < fine.height && x < fine.width && fine.values[y * fine.width + x] > 0.5F;
  };
  for (std::size_t y = 0; y <= fine.height; ++y) {
    for (std::size_t x = 0; x <= fine.width; ++x) {
      area += ink(y, x);
      steps += ink(y, x) != (y > 0 && ink(y - 1, x));
      steps += ink(y, x) != (x > 0 && ink(y, x - 1));
    }
  }
  const double contour = static_cast<double>(steps) * std::numbers::pi / 4;
  return 2 * static_cast<double>(area) / std::max(contour, 1.0);
}

/// Widens the ink by one pixel, in four directions or in eight: in turn they make an octagon.
Grid thicker(const Grid& grid, bool diagonal) {
  Grid wide = grid;
  for (std::size_t y = 0; y < grid.height; ++y) {
    for (std::size_t x = 0; x < grid.width; ++x) {
      float& most = wide.values[y * grid.width + x];
      for (std::size_t v = y - (y > 0); v <= std::min(y + 1, grid.height - 1); ++v) {
        for (std::size_t u = x - (x > 0); u <= std::min(x + 1, grid.width - 1); ++u) {
          if (diagonal || v == y || u == x) most = std::max(most, grid.values[v * grid.width + u]);
        }
      }
    }
  }
  return wide;
}

/// The ink with its longer side scaled to 20 pixels, 0 to 1.
Grid scaled(const Ink& ink) {
  Grid fine = resized(ink, 0);
  const double width = line_width(fine);
  if (width < kThin * kFine) {
    const auto rounds =
        static_cast<std::size_t>(std::max(round_even((kThin * kFine - width) / 2), 1.0));
    fine = resized(ink, rounds);
    for (std::size_t turn = 0; turn < rounds; ++turn) fine = thicker(fine, turn % 2 == 1);
  }
  Grid digit{fine.height / kFine, fine.width / kFine, {}};
  for (std::size_t y = 0; y < digit.height; ++y) {
    for (std::size_t x = 0; x < digit.width; ++x) {
      float sum = 0;
      for (std::size_t row = 0; row < kFine; ++row) {
        sum += pairwise_sum(fine.values.data() + (y * kFine + row) * fine.width + x * kFine, kFine);
      }
      digit.values.push_back(sum / static_cast<float>(kFine * kFine));
    }
  }
  return digit;
}

/// The first row or column of a digit whose centre of mass comes to lie on pixel 14.
std::size_t corner(const std::vector<float>& profile, float mass) {
  std::vector<double> moments(profile.size());
  for (std::size_t i = 0; i < profile.size(); ++i) {
    moments[i] = double{profile[i]} * static_cast<double>(i);
  }
  const double centre = pairwise_sum(moments.data(), moments.size()) / double{mass};
  const double place = round_even(static_cast<double>(kImageSide / 2) - centre);
  const auto most = static_cast<double>(kImageSide - profile.size());
  return static_cast<std::size_t>(std::clamp(place, 0.0, most));
}

/// Places a digit of at most 20 by 20 in 28 by 28, its centre of mass in the middle.
Image centred(Grid digit) {
  const float most = *std::max_element(digit.values.begin(), digit.values.end());
  for (float& value : digit.values) value /= most;
  std::vector<float> down(digit.height), across(digit.width, 0.0F);
  for (std::size_t y = 0; y < digit.height; ++y) {
    const float* row = digit.values.data() + y * digit.width;
    down[y] = pairwise_sum(row, digit.width);
    for (std::size_t x = 0; x < digit.width; ++x) across[x] += row[x];
  }
  const float mass = pairwise_sum(digit.values.data(), digit.values.size());
  const std::size_t top = corner(down, mass), left = corner(across, mass);
  Image image{};
  for (std::size_t y = 0; y < digit.height; ++y) {
    for (std::size_t x = 0; x < digit.width; ++x) {
      image[(top + y) * kImageSide + left + x] =
          static_cast<std::uint8_t>(std::nearbyint(digit.values[y * digit.width + x] * 255));
    }
  }
  return image;
}

}  // namespace
}  // namespace image

std::array<std::uint8_t, kImageBytes> to_mnist(const Picture& picture, bool invert) {
  image::check(picture);
  const image::Planes planes = image::to_planes(picture, invert);
  if (planes.height == kImageSide && planes.width == kImageSide) {
    if (const auto framed = image::as_mnist(planes)) return *framed;
  }
  const std::optional<image::Ink> ink = image::digit_in(planes);
  if (!ink) {
    image::refuse(
        "the picture is blank: nothing in it stands out from its background; wanted one "
        "handwritten digit: give a picture of one with some empty paper around it");
  }
  return image::centred(image::scaled(*ink));
}

}  // namespace mnistkit
