// The golden digits of the artifact under test.
#pragma once

#include "common/golden.hpp"
#include "scratch.hpp"

namespace mnistkit::test {

inline detail::Golden golden_digits() {
  const std::string text = read_text(artifact() / "golden.bin");
  return detail::parse_golden({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace mnistkit::test
