#include "core/file.hpp"

#include <fstream>
#include <string>
#include <system_error>

#include "mnistkit/error.hpp"

namespace mnistkit::detail {

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::size_t limit) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    throw Error(ErrorCode::not_found, path.string() + ": no such file");
  }
  if (!std::filesystem::is_regular_file(status)) {
    throw Error(ErrorCode::bad_artifact, path.string() + ": not a regular file");
  }
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream stream(path, std::ios::binary);
  if (error || !stream) throw Error(ErrorCode::not_found, path.string() + ": cannot be read");
  if (size > limit) {
    throw Error(ErrorCode::bad_artifact, path.string() + ": " + std::to_string(size) +
                                             " bytes, wanted at most " + std::to_string(limit));
  }
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(stream.gcount()) != size) {
    throw Error(ErrorCode::bad_artifact, path.string() + ": ended after " +
                                             std::to_string(stream.gcount()) + " bytes, wanted " +
                                             std::to_string(size) + "; was it being written?");
  }
  return bytes;
}

}  // namespace mnistkit::detail
