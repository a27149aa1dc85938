// CRC-32 as in zlib and PNG (polynomial 0xEDB88320, reflected).
#pragma once

#include <cstddef>
#include <cstdint>

namespace mnistkit::engine {

// `crc` is 0 at the start, and what came before when data comes in pieces.
std::uint32_t crc32(std::uint32_t crc, const std::byte* data, std::size_t size);

}  // namespace mnistkit::engine
