// An artifact's golden digits, and the comparison with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "mnistkit/types.hpp"

namespace mnistkit::detail {

/// Digits that the project drew itself, with the reference logits of one precision.
struct Golden {
  std::vector<std::uint8_t> images;  ///< count * 784
  std::vector<float> logits;         ///< count * 10
  std::vector<std::uint8_t> labels;  ///< count
  std::vector<std::string> classes;  ///< the names of the ten classes; none in a file of schema 1

  [[nodiscard]] std::size_t count() const noexcept { return labels.size(); }
  /// How many digits the reference reads as what was drawn.
  [[nodiscard]] std::size_t correct() const noexcept;
};

/// Reads golden.npz (python/mnistkit/artifact/golden.py has its arrays) with the reference logits
/// of that precision. Throws `Error(bad_artifact)`.
[[nodiscard]] Golden parse_golden(std::span<const std::uint8_t> file, Precision precision);

/// How far a runtime may be from the reference, as python/mnistkit/backends/tolerances.py has it:
/// no logit farther than `most`, and not more than `rare` of the digits, as a fraction that is
/// rounded up, with one farther than `typical`.
struct Tolerance {
  float most;
  float typical = std::numeric_limits<float>::infinity();
  float rare = 0.0F;
};

/// Compares `count * 10` logits with the reference.
[[nodiscard]] SelfCheck compare_golden(const Golden& golden, std::span<const float> logits,
                                       const Tolerance& tolerance);

}  // namespace mnistkit::detail
