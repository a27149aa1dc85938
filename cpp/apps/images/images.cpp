#include "apps/images/images.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <system_error>

#include "apps/images/png.hpp"
#include "mnistkit/error.hpp"
#include "mnistkit/types.hpp"

namespace mnistkit::apps {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kLimit = std::size_t{1} << 30;

bool starts_with(Bytes content, std::initializer_list<unsigned> prefix) {
  return content.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), content.begin());
}

std::uint32_t load_be32(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

/// The IDX format of the MNIST files: 0, 0, type, number of dimensions, big-endian sizes, data.
std::vector<std::uint8_t> decode_idx(Bytes content) {
  if (!starts_with(content, {0, 0, 8})) throw ImageError("IDX: wanted a file of unsigned bytes");
  if (content.size() < 4 || content[3] != 3) {
    const std::string got = content.size() < 4 ? "none" : std::to_string(content[3]);
    throw ImageError("IDX: got " + got + " dimensions, wanted 3 (images)" +
                     (got == "1" ? "; this is a file of labels" : ""));
  }
  if (content.size() < 16) throw ImageError("IDX: header ends too early");
  const std::size_t count = load_be32(content.data() + 4);
  const std::uint32_t rows = load_be32(content.data() + 8);
  const std::uint32_t columns = load_be32(content.data() + 12);
  if (rows != kImageSide || columns != kImageSide) {
    throw ImageError("IDX: got " + std::to_string(rows) + "x" + std::to_string(columns) +
                     ", wanted 28x28");
  }
  const Bytes pixels = content.subspan(16);
  if (pixels.size() != count * kImageBytes) {
    throw ImageError("IDX: " + std::to_string(count) + " images are " +
                     std::to_string(count * kImageBytes) + " bytes, got " +
                     std::to_string(pixels.size()) +
                     (pixels.size() < count * kImageBytes ? "; the file is cut short" : ""));
  }
  return {pixels.begin(), pixels.end()};
}

std::vector<std::uint8_t> decode_raw(std::vector<std::uint8_t> content) {
  if (content.empty() || content.size() % kImageBytes != 0) {
    throw ImageError("raw: got " + std::to_string(content.size()) +
                     " bytes, wanted N * 784 with N of at least 1");
  }
  return content;
}

}  // namespace

ImageFormat parse_format(std::string_view text) {
  if (text == "auto") return ImageFormat::automatic;
  if (text == "idx") return ImageFormat::idx;
  if (text == "png") return ImageFormat::png;
  if (text == "raw") return ImageFormat::raw;
  throw ImageError("format: got '" + std::string(text) + "', wanted auto, idx, png or raw");
}

std::vector<std::uint8_t> decode_images(std::vector<std::uint8_t> content, ImageFormat format) {
  const bool automatic = format == ImageFormat::automatic;
  // A raw picture may begin with any bytes, but its length gives it away.
  const bool raw_length = !content.empty() && content.size() % kImageBytes == 0;
  if ((automatic ? !raw_length : format == ImageFormat::idx) &&
      starts_with(content, {0x1f, 0x8b})) {
    content = inflate_gzip(content, kLimit);
  }
  if (automatic) {
    const bool png = starts_with(content, {0x89, 'P', 'N', 'G'});
    const bool idx = starts_with(content, {0, 0, 8}) && content.size() % kImageBytes != 0;
    format = png ? ImageFormat::png : idx ? ImageFormat::idx : ImageFormat::raw;
  }
  switch (format) {
    case ImageFormat::png:
      return decode_png(content);
    case ImageFormat::idx:
      return decode_idx(content);
    default:
      return decode_raw(std::move(content));
  }
}

std::vector<std::uint8_t> read_input(const std::string& path) {
  std::error_code error;
  std::ifstream file;
  if (path != "-") {
    if (!std::filesystem::exists(path, error)) {
      throw Error(ErrorCode::not_found, path + ": no such file");
    }
    if (std::filesystem::is_directory(path, error)) {
      throw ImageError("got a folder, wanted a file");
    }
    file.open(path, std::ios::binary);
    if (!file) throw Error(ErrorCode::not_found, path + ": cannot be read");
  }
  std::istream& stream = path == "-" ? std::cin : file;
  std::vector<std::uint8_t> content;
  std::array<char, 1 << 16> block;
  while (stream.read(block.data(), block.size()), stream.gcount() > 0) {
    content.insert(content.end(), block.begin(), block.begin() + stream.gcount());
    if (content.size() > kLimit) throw ImageError("longer than 1 GiB");
  }
  return content;
}

}  // namespace mnistkit::apps
