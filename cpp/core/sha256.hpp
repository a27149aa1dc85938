// SHA-256 (FIPS 180-4), for the hashes in an artifact's manifest.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace mnistkit::detail {

/// The digest as 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::span<const std::uint8_t> bytes);

}  // namespace mnistkit::detail
