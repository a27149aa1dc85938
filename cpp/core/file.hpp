// Whole files into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace mnistkit::detail {

/// Reads a regular file of at most `limit` bytes; throws `Error(not_found)` if it is not there or
/// cannot be read, `Error(bad_artifact)` if it is no regular file or longer.
[[nodiscard]] std::vector<std::uint8_t> read_file(const std::filesystem::path& path,
                                                  std::size_t limit);

}  // namespace mnistkit::detail
