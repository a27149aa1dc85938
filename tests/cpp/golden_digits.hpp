// The golden digits of the artifact under test.
#pragma once

#include "core/golden.hpp"
#include "scratch.hpp"

namespace mnistkit::test {

inline detail::Golden golden_digits(Precision reference = Precision::fp32) {
  const std::string text = read_text(artifact() / "golden.npz");
  return detail::parse_golden({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()},
                              reference);
}

}  // namespace mnistkit::test
