// What decoders share: the bounds on pictures, 16 bits as bytes, turning.
#include <algorithm>

#include "image/formats.hpp"
#include "image/refuse.hpp"

namespace mnistkit::image {

void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

void refuse_unbuilt(const std::string& format, const std::string& package) {
  throw Error(ErrorCode::unavailable, "this build cannot read " + format +
                                          ": its library was not there when it was compiled; "
                                          "install it (Debian: apt-get install " +
                                          package + ") and compile again");
}

void check_size(std::size_t width, std::size_t height) {
  const std::string size = std::to_string(width) + " by " + std::to_string(height) + " pixels";
  if (std::min(width, height) < 4) {
    refuse("the picture is " + size +
           "; wanted at least 4 by 4: give a picture of one handwritten digit with some empty "
           "paper around it");
  }
  if (width > kMaxPixels || height > kMaxPixels / width) {
    refuse("the picture is " + size + "; wanted at most " + std::to_string(kMaxPixels) +
           " in all: scale it down or crop it to the digit");
  }
}

void check(const Picture& picture) {
  check_size(picture.width, picture.height);
  const std::size_t channels = picture.channels;
  if ((channels != 1 && channels != 3 && channels != 4) ||
      picture.pixels.size() != picture.width * picture.height * channels) {
    refuse("the picture has " + std::to_string(picture.pixels.size()) + " bytes for " +
           std::to_string(picture.width) + " by " + std::to_string(picture.height) +
           " pixels and " + std::to_string(channels) +
           " channels; wanted width * height * channels, with 1, 3 or 4 channels");
  }
}

std::vector<std::uint8_t> to_bytes(const std::vector<std::uint16_t>& values) {
  const std::uint32_t most = *std::max_element(values.begin(), values.end());
  const std::uint32_t range = most <= 4095 ? 4095 : 65535;
  std::vector<std::uint8_t> bytes(values.size());
  std::transform(values.begin(), values.end(), bytes.begin(), [range](std::uint32_t value) {
    return static_cast<std::uint8_t>((value * 255 + range / 2) / range);
  });
  return bytes;
}

Picture upright(Picture picture, int orientation) {
  if (orientation <= 1 || orientation > 8) return picture;
  const bool turned = orientation >= 5;
  Picture out{turned ? picture.height : picture.width, turned ? picture.width : picture.height,
              picture.channels, std::vector<std::uint8_t>(picture.pixels.size())};
  const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (std::size_t y = 0; y < out.height; ++y) {
    for (std::size_t x = 0; x < out.width; ++x) {
      const std::size_t u = turned ? y : x, v = turned ? x : y;
      const std::size_t column = right ? picture.width - 1 - u : u;
      const std::size_t row = down ? picture.height - 1 - v : v;
      std::copy_n(picture.pixels.data() + (row * picture.width + column) * picture.channels,
                  picture.channels, out.pixels.data() + (y * out.width + x) * picture.channels);
    }
  }
  return out;
}

}  // namespace mnistkit::image
