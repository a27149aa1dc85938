// Errors of pictures and the bounds on them.
#pragma once

#include <cstddef>
#include <string>

#include "mnistkit/image.hpp"

namespace mnistkit::image {

inline constexpr std::size_t kMaxPixels = 80'000'000;  ///< of the largest picture that is read

/// Throws `Error(invalid_argument)`.
[[noreturn]] void refuse(const std::string& message);

/// Throws `Error(unavailable)`: this build was made without what reads that format.
[[noreturn]] void refuse_unbuilt(const std::string& format, const std::string& package);

/// Throws unless the sides are within the bounds.
void check_size(std::size_t width, std::size_t height);

/// Throws unless the picture's fields fit each other and the bounds.
void check(const Picture& picture);

}  // namespace mnistkit::image
