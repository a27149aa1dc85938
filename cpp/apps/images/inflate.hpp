// DEFLATE (RFC 1951) in its zlib (RFC 1950) and gzip (RFC 1952) wrappings, with a bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

namespace mnistkit::apps {

/// An image file that is damaged, or of a kind that is not read.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Both throw `ImageError` if the data is damaged or gives more than `limit` bytes.
[[nodiscard]] std::vector<std::uint8_t> inflate_zlib(std::span<const std::uint8_t> data,
                                                     std::size_t limit);
[[nodiscard]] std::vector<std::uint8_t> inflate_gzip(std::span<const std::uint8_t> data,
                                                     std::size_t limit);

/// CRC-32 (ISO 3309), as gzip and PNG use it.
[[nodiscard]] std::uint32_t crc32(std::span<const std::uint8_t> data) noexcept;

}  // namespace mnistkit::apps
