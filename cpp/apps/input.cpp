#include "apps/input.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <system_error>

#include "mnistkit/error.hpp"

namespace mnistkit::apps {

std::vector<std::uint8_t> read_input(const std::string& path) {
  constexpr std::size_t kLimit = (std::size_t{1} << 30) + 16;
  std::error_code error;
  std::ifstream file;
  if (path != "-") {
    if (!std::filesystem::exists(path, error)) {
      throw Error(ErrorCode::not_found, "no such file");
    }
    if (std::filesystem::is_directory(path, error)) {
      throw Error(ErrorCode::invalid_argument, "got a folder, wanted a file");
    }
    file.open(path, std::ios::binary);
    if (!file) throw Error(ErrorCode::not_found, "cannot be read");
  }
  std::istream& stream = path == "-" ? std::cin : file;
  std::vector<std::uint8_t> content;
  std::array<char, 1 << 16> block;
  while (stream.read(block.data(), block.size()), stream.gcount() > 0) {
    content.insert(content.end(), block.begin(), block.begin() + stream.gcount());
    if (content.size() > kLimit) throw Error(ErrorCode::invalid_argument, "longer than 1 GiB");
  }
  return content;
}

std::vector<std::uint8_t> read_image_file(const std::string& path, ImageFormat format,
                                          bool invert) {
  try {
    return read_images(read_input(path), format, invert);
  } catch (const Error& error) {
    throw Error(error.code(), (path == "-" ? "standard input" : path) + ": " + error.what());
  }
}

}  // namespace mnistkit::apps
