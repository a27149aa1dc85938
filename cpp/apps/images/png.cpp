#include "apps/images/png.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "apps/images/inflate.hpp"
#include "mnistkit/types.hpp"

namespace mnistkit::apps {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::array<std::uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

enum ColorType : unsigned { kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgba = 6 };

std::uint32_t load_be32(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

struct Png {
  unsigned color = 0;
  std::vector<std::uint8_t> compressed;
  std::vector<std::uint8_t> palette;  // r, g, b
  std::vector<std::uint8_t> alpha;    // of palette entries
  bool has_header = false;
  bool has_end = false;
};

std::size_t channels(unsigned color) {
  switch (color) {
    case kGrey:
    case kPalette:
      return 1;
    case kGreyAlpha:
      return 2;
    case kRgb:
      return 3;
    case kRgba:
      return 4;
    default:
      throw ImageError("PNG: unknown colour type " + std::to_string(color));
  }
}

void read_header(Png& png, Bytes data) {
  if (data.size() != 13) throw ImageError("PNG: header of a wrong length");
  const std::uint32_t width = load_be32(data.data());
  const std::uint32_t height = load_be32(data.data() + 4);
  if (width != kImageSide || height != kImageSide) {
    throw ImageError("PNG: got " + std::to_string(width) + "x" + std::to_string(height) +
                     ", wanted 28x28; `mnistkit predict` reads any size");
  }
  if (data[8] != 8) {
    throw ImageError("PNG: got " + std::to_string(data[8]) + " bits a channel, wanted 8");
  }
  if (data[10] != 0 || data[11] != 0) throw ImageError("PNG: unknown compression or filter");
  if (data[12] != 0) throw ImageError("PNG: interlaced, wanted not interlaced");
  png.color = data[9];
  channels(png.color);
  png.has_header = true;
}

Png read_chunks(Bytes file) {
  Png png;
  std::size_t at = kSignature.size();
  while (!png.has_end) {
    if (file.size() - at < 12) throw ImageError("PNG: ends too early");
    const std::uint32_t length = load_be32(file.data() + at);
    if (length > file.size() - at - 12) throw ImageError("PNG: a chunk reaches past the end");
    const Bytes checked = file.subspan(at + 4, std::size_t{length} + 4);
    if (crc32(checked) != load_be32(file.data() + at + 8 + length)) {
      throw ImageError("PNG: checksum of a chunk is wrong");
    }
    const std::string_view kind(reinterpret_cast<const char*>(checked.data()), 4);
    const Bytes data = checked.subspan(4);
    if (png.has_header == (kind == "IHDR")) throw ImageError("PNG: wanted one header, and first");
    if (kind == "IHDR") {
      read_header(png, data);
    } else if (kind == "PLTE") {
      png.palette.assign(data.begin(), data.end());
    } else if (kind == "tRNS" && png.color == kPalette) {
      png.alpha.assign(data.begin(), data.end());
    } else if (kind == "IDAT") {
      png.compressed.insert(png.compressed.end(), data.begin(), data.end());
    } else if (kind == "IEND") {
      png.has_end = true;
    } else if ((checked[0] & 0x20) == 0) {
      throw ImageError("PNG: unknown critical chunk '" + std::string(kind) + "'");
    }
    at += std::size_t{length} + 12;
  }
  return png;
}

std::uint8_t paeth(int left, int up, int corner) {
  const int estimate = left + up - corner;
  const int by_left = std::abs(estimate - left);
  const int by_up = std::abs(estimate - up);
  const int by_corner = std::abs(estimate - corner);
  if (by_left <= by_up && by_left <= by_corner) return static_cast<std::uint8_t>(left);
  return static_cast<std::uint8_t>(by_up <= by_corner ? up : corner);
}

/// Undoes the row filters; gives the samples without the filter bytes.
std::vector<std::uint8_t> unfilter(Bytes rows, std::size_t pixel) {
  const std::size_t width = kImageSide * pixel;
  std::vector<std::uint8_t> out(kImageSide * width);
  for (std::size_t y = 0; y < kImageSide; ++y) {
    const unsigned filter = rows[y * (width + 1)];
    const Bytes in = rows.subspan(y * (width + 1) + 1, width);
    std::uint8_t* row = out.data() + y * width;
    for (std::size_t x = 0; x < width; ++x) {
      const unsigned left = x >= pixel ? row[x - pixel] : 0;
      const unsigned up = y > 0 ? *(row + x - width) : 0;
      const unsigned corner = x >= pixel && y > 0 ? *(row + x - width - pixel) : 0;
      unsigned guess = 0;
      switch (filter) {
        case 0:
          break;
        case 1:
          guess = left;
          break;
        case 2:
          guess = up;
          break;
        case 3:
          guess = (left + up) / 2;
          break;
        case 4:
          guess = paeth(static_cast<int>(left), static_cast<int>(up), static_cast<int>(corner));
          break;
        default:
          throw ImageError("PNG: unknown row filter");
      }
      row[x] = static_cast<std::uint8_t>(in[x] + guess);
    }
  }
  return out;
}

/// ITU-R BT.601 luma, as most image libraries use it, over a background of 0.
std::uint8_t luma(unsigned r, unsigned g, unsigned b, unsigned alpha) {
  const unsigned grey = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
  return static_cast<std::uint8_t>((grey * alpha + 127) / 255);
}

std::uint8_t to_grey(const Png& png, const std::uint8_t* sample) {
  switch (png.color) {
    case kGrey:
      return sample[0];
    case kGreyAlpha:
      return luma(sample[0], sample[0], sample[0], sample[1]);
    case kRgb:
      return luma(sample[0], sample[1], sample[2], 255);
    case kRgba:
      return luma(sample[0], sample[1], sample[2], sample[3]);
    default:
      break;
  }
  const std::size_t index = sample[0];
  if (3 * index + 2 >= png.palette.size()) throw ImageError("PNG: a colour outside the palette");
  const std::uint8_t* rgb = png.palette.data() + 3 * index;
  return luma(rgb[0], rgb[1], rgb[2], index < png.alpha.size() ? png.alpha[index] : 255);
}

}  // namespace

std::vector<std::uint8_t> decode_png(Bytes file) {
  if (file.size() < kSignature.size() ||
      !std::equal(kSignature.begin(), kSignature.end(), file.begin())) {
    throw ImageError("not a PNG file");
  }
  const Png png = read_chunks(file);
  const std::size_t pixel = channels(png.color);
  const std::size_t size = kImageSide * (kImageSide * pixel + 1);
  const std::vector<std::uint8_t> rows = inflate_zlib(png.compressed, size);
  if (rows.size() != size) throw ImageError("PNG: has too few pixels");
  const std::vector<std::uint8_t> samples = unfilter(rows, pixel);
  std::vector<std::uint8_t> image(kImageBytes);
  for (std::size_t i = 0; i < kImageBytes; ++i) {
    image[i] = to_grey(png, samples.data() + i * pixel);
  }
  return image;
}

}  // namespace mnistkit::apps
