// Where the programs get their bytes from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mnistkit/image.hpp"

namespace mnistkit::apps {

/// The content of a file, or of standard input where `path` is "-", up to 1 GiB. Throws `Error`:
/// not_found if there is none, invalid_argument if it is a folder or longer.
[[nodiscard]] std::vector<std::uint8_t> read_input(const std::string& path);

/// The images in a file, N * 784 bytes, by `mnistkit::read_images`; an error names the file.
[[nodiscard]] std::vector<std::uint8_t> read_image_file(const std::string& path, ImageFormat format,
                                                        bool invert);

}  // namespace mnistkit::apps
