// BMP without compression: 1, 4 and 8 bits with a palette, 24 and 32 bits.
#include <algorithm>
#include <array>

#include "image/formats.hpp"
#include "image/refuse.hpp"

namespace mnistkit::image {
namespace {

[[noreturn]] void damaged(const std::string& reason) {
  refuse("BMP: damaged or cut short (" + reason + "); wanted a whole picture: save it again");
}

std::uint32_t load(Bytes file, std::size_t at, std::size_t bytes) {
  if (at > file.size() || file.size() - at < bytes) damaged("the file ends too early");
  std::uint32_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8 | file[at + i];
  return value;
}

struct Header {
  std::size_t pixels = 0, palette = 0, entry = 4, colours = 0;
  std::size_t width = 0, height = 0, bits = 0;
  bool from_top = false;
  bool alpha = false;
};

Header read_header(Bytes file) {
  Header header;
  header.pixels = load(file, 10, 4);
  const std::size_t size = load(file, 14, 4);
  std::uint32_t compression = 0;
  if (size == 12) {  // OS/2's
    header.width = load(file, 18, 2);
    header.height = load(file, 20, 2);
    header.bits = load(file, 24, 2);
    header.entry = 3;
  } else if (size >= 40 && size <= 1024) {
    header.width = load(file, 18, 4);
    const std::uint32_t height = load(file, 22, 4);
    header.from_top = height >> 31 != 0;
    header.height = header.from_top ? std::uint32_t{0} - height : height;
    header.bits = load(file, 28, 2);
    compression = load(file, 30, 4);
    header.colours = load(file, 46, 4);
  } else {
    damaged("a header of " + std::to_string(size) + " bytes");
  }
  header.palette = 14 + size;
  const bool masks = compression == 3 && header.bits == 32;
  if (masks) {
    if (load(file, 54, 4) != 0xff0000 || load(file, 58, 4) != 0xff00 || load(file, 62, 4) != 0xff) {
      refuse("BMP with unusual colour masks; wanted a plain one: save it as PNG");
    }
    header.alpha = size > 52 && load(file, 66, 4) == 0xff000000;
  }
  const std::size_t kinds[] = {1, 4, 8, 24, 32};
  if (std::find(std::begin(kinds), std::end(kinds), header.bits) == std::end(kinds) ||
      (compression != 0 && !masks)) {
    refuse("BMP of " + std::to_string(header.bits) + " bits and compression " +
           std::to_string(compression) +
           "; wanted 1, 4, 8, 24 or 32 bits and none: save it as PNG");
  }
  if (header.bits <= 8 && (header.colours == 0 || header.colours > std::size_t{1} << header.bits)) {
    header.colours = std::size_t{1} << header.bits;
  }
  return header;
}

}  // namespace

Picture decode_bmp(Bytes file) {
  const Header header = read_header(file);
  check_size(header.width, header.height);
  std::array<std::array<std::uint8_t, 3>, 256> palette{};
  // A palette of greys makes a grey picture, as in Pillow.
  bool grey = header.bits <= 8;
  for (std::size_t i = 0; header.bits <= 8 && i < header.colours; ++i) {
    const std::uint32_t entry = load(file, header.palette + i * header.entry, 3);
    const std::size_t level = header.colours == 2 ? 255 * i : i;
    for (std::size_t c = 0; c < 3; ++c) {
      palette[i][c] = static_cast<std::uint8_t>(entry >> (16 - 8 * c));
      grey = grey && palette[i][c] == level;
    }
  }
  const std::size_t line = (header.width * header.bits + 31) / 32 * 4;
  if (header.pixels > file.size() || (file.size() - header.pixels) / line < header.height) {
    damaged("it has too few pixels");
  }
  const std::size_t channels = grey ? 1 : header.alpha ? 4 : 3;
  Picture picture{header.width, header.height, channels, {}};
  picture.pixels.reserve(header.width * header.height * channels);
  for (std::size_t y = 0; y < header.height; ++y) {
    const std::size_t row = header.from_top ? y : header.height - 1 - y;
    const std::uint8_t* data = file.data() + header.pixels + row * line;
    for (std::size_t x = 0; x < header.width; ++x) {
      if (header.bits > 8) {
        const std::uint8_t* pixel = data + x * header.bits / 8;
        for (const std::size_t c : {2, 1, 0}) picture.pixels.push_back(pixel[c]);
        if (channels == 4) picture.pixels.push_back(pixel[3]);
        continue;
      }
      const std::size_t bit = x * header.bits;
      const unsigned index =
          data[bit / 8] >> (8 - header.bits - bit % 8) & ((1U << header.bits) - 1);
      for (std::size_t c = 0; c < channels; ++c) picture.pixels.push_back(palette[index][c]);
    }
  }
  return picture;
}

}  // namespace mnistkit::image
