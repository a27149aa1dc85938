// An artifact's golden digits, and the comparison with them.
#pragma once

#include <cstddef>
#include <cstdint>
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

/// The precision whose reference logits `precision` is compared with.
[[nodiscard]] Precision golden_reference(Precision precision) noexcept;

/// Reads golden.npz (python/mnistkit/golden.py has its arrays) with the logits of `reference`.
/// Throws `Error(bad_artifact)`.
[[nodiscard]] Golden parse_golden(std::span<const std::uint8_t> file, Precision reference);

/// Compares `count * 10` logits with the reference; `tolerance` is how far each may be from it.
[[nodiscard]] SelfCheck compare_golden(const Golden& golden, std::span<const float> logits,
                                       float tolerance);

}  // namespace mnistkit::detail
