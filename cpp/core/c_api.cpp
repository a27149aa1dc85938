#include "core/c_api.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace mnistkit::detail {
namespace {

/// A fixed buffer: keeping the text of "out of memory" must not allocate.
std::array<char, 2048>& last_error() noexcept {
  thread_local std::array<char, 2048> text = {};
  return text;
}

}  // namespace

mnistkit_status set_last_error(mnistkit_status status, const char* message) noexcept {
  auto& text = last_error();
  const std::size_t length = std::min(std::strlen(message), text.size() - 1);
  std::memcpy(text.data(), message, length);
  text[length] = '\0';
  return status;
}

}  // namespace mnistkit::detail

const char* mnistkit_version(void) { return MNISTKIT_VERSION_STRING; }

const char* mnistkit_last_error(void) { return mnistkit::detail::last_error().data(); }

const char* mnistkit_status_name(mnistkit_status status) {
  return status == MNISTKIT_OK ? "ok" : to_string(static_cast<mnistkit::ErrorCode>(status));
}
