// An artifact's golden digits, and the comparison with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mnistkit/types.hpp"

namespace mnistkit::detail {

/// Digits that the project drew itself, with the reference logits of the exported net.
struct Golden {
  std::vector<std::uint8_t> images;       ///< count * 784
  std::vector<float> logits;              ///< count * 10
  std::vector<std::uint8_t> labels;       ///< count
  Precision reference = Precision::fp32;  ///< what the logits are of

  [[nodiscard]] std::size_t count() const noexcept { return labels.size(); }
};

/// Reads golden.bin, little-endian: "MNKGOLD1", uint32 count (1 to 1024), uint32 0, count * 10
/// float32 logits, count * 784 uint8 images, count uint8 labels. Throws `Error(bad_artifact)`.
[[nodiscard]] Golden parse_golden(std::span<const std::uint8_t> bytes);

/// How far a logit of that precision may be from the reference logits of `reference`: as `mnistkit
/// verify` has it, and farther where an older artifact has no logits of the int8 net.
[[nodiscard]] float golden_tolerance(Precision precision, Precision reference) noexcept;

/// Compares `count * 10` logits with the reference.
[[nodiscard]] SelfCheck compare_golden(const Golden& golden, std::span<const float> logits,
                                       Precision precision);

}  // namespace mnistkit::detail
