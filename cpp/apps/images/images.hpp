// Image files of every kind that the programs read, as bytes for a runtime.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/images/inflate.hpp"

namespace mnistkit::apps {

enum class ImageFormat { automatic, idx, png, raw };

/// Reads "auto", "idx", "png" or "raw"; throws `ImageError` for anything else.
[[nodiscard]] ImageFormat parse_format(std::string_view text);

/// The images of a file's content, N * 784 bytes. `automatic` goes by the first bytes: gzip, PNG,
/// IDX, else raw (a multiple of 784 bytes). Throws `ImageError`.
[[nodiscard]] std::vector<std::uint8_t> decode_images(std::vector<std::uint8_t> content,
                                                      ImageFormat format);

/// The content of a file, or of standard input where `path` is "-", up to 1 GiB. Throws `Error`
/// (not_found) if there is none, `ImageError` if it is longer.
[[nodiscard]] std::vector<std::uint8_t> read_input(const std::string& path);

}  // namespace mnistkit::apps
