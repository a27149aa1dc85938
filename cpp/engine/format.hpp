// The parser of .mnk files; docs/reference/mnk.md numbers the rules that its errors name.
#pragma once

#include <cstddef>

#include "model.hpp"

namespace mnistkit::engine {

struct FormatError {
  int rule;  // 0: no error
  const char* text;
};

// Rule 2 is the one that a newer mnistkit may break without fault.
inline constexpr int kVersionRule = 2;

// Fills `model`, whose pointers then lead into `data`. Reads nothing outside data[0, size).
FormatError parse(const std::byte* data, std::size_t size, Model& model);

}  // namespace mnistkit::engine
