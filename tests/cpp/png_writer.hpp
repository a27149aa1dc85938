// Writes PNG files for the tests, uncompressed, with every mistake that a test asks for.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "apps/images/inflate.hpp"

namespace mnistkit::test {

using Bytes = std::vector<std::uint8_t>;

inline void append_be32(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

/// The data as a zlib stream of one stored block; at most 65535 bytes.
inline Bytes zlib_stored(const Bytes& data) {
  const auto length = static_cast<std::uint16_t>(data.size());
  const auto inverse = static_cast<std::uint16_t>(~length);
  Bytes out = {0x78, 0x01, 1};
  for (const std::uint16_t word : {length, inverse}) {
    out.push_back(static_cast<std::uint8_t>(word & 0xff));
    out.push_back(static_cast<std::uint8_t>(word >> 8));
  }
  out.insert(out.end(), data.begin(), data.end());
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const std::uint8_t byte : data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  append_be32(out, b << 16 | a);
  return out;
}

struct PngOptions {
  std::uint32_t width = 28;
  std::uint32_t height = 28;
  std::uint8_t bits = 8;
  std::uint8_t color = 0;  ///< 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA
  std::uint8_t interlace = 0;
  Bytes palette = {};
  Bytes transparency = {};
  std::string_view extra_chunk = {};
};

/// `rows` are the scan lines, each with its filter byte before it.
inline Bytes write_png(const Bytes& rows, const PngOptions& options = {}) {
  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto chunk = [&png](std::string_view kind, const Bytes& data) {
    append_be32(png, static_cast<std::uint32_t>(data.size()));
    Bytes checked(kind.begin(), kind.end());
    checked.insert(checked.end(), data.begin(), data.end());
    png.insert(png.end(), checked.begin(), checked.end());
    append_be32(png, apps::crc32(checked));
  };
  Bytes header;
  append_be32(header, options.width);
  append_be32(header, options.height);
  for (const std::uint8_t byte :
       {options.bits, options.color, std::uint8_t{0}, std::uint8_t{0}, options.interlace}) {
    header.push_back(byte);
  }
  chunk("IHDR", header);
  if (!options.palette.empty()) chunk("PLTE", options.palette);
  if (!options.transparency.empty()) chunk("tRNS", options.transparency);
  if (!options.extra_chunk.empty()) chunk(options.extra_chunk, {});
  chunk("IDAT", zlib_stored(rows));
  chunk("IEND", {});
  return png;
}

}  // namespace mnistkit::test
