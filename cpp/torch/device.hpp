// Device names: "cpu", "cuda", "cuda:N".
#pragma once

#include <c10/core/Device.h>

#include <string_view>

namespace mnistkit::detail {

/// The device of that name, "cuda" being the first GPU. Throws `Error(invalid_argument)` for a
/// name that is none, `Error(unavailable)` for a GPU that is not there.
[[nodiscard]] c10::Device parse_device(std::string_view name);

}  // namespace mnistkit::detail
