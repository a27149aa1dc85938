#include "common/golden.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "common/classify.hpp"
#include "mnistkit/error.hpp"

namespace mnistkit::detail {
namespace {

constexpr std::string_view kMagic = "MNKGOLD1";
constexpr std::size_t kHeader = 16;
constexpr std::size_t kMaxCount = 1024;
constexpr std::size_t kRecord = kClasses * sizeof(float) + kImageBytes + 1;

std::uint32_t load_le32(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
         std::uint32_t{bytes[3]} << 24;
}

}  // namespace

Golden parse_golden(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHeader || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    throw Error(ErrorCode::bad_artifact, "golden digits: does not begin with MNKGOLD1");
  }
  const std::size_t count = load_le32(bytes.data() + 8);
  if (count == 0 || count > kMaxCount || load_le32(bytes.data() + 12) != 0 ||
      bytes.size() != kHeader + count * kRecord) {
    throw Error(ErrorCode::bad_artifact, "golden digits: " + std::to_string(bytes.size()) +
                                             " bytes do not fit a count of " +
                                             std::to_string(count));
  }
  Golden golden;
  golden.logits.resize(count * kClasses);
  const std::uint8_t* at = bytes.data() + kHeader;
  for (float& logit : golden.logits) {
    logit = std::bit_cast<float>(load_le32(at));
    at += sizeof(float);
    if (!std::isfinite(logit)) {
      throw Error(ErrorCode::bad_artifact, "golden digits: a reference logit is not finite");
    }
  }
  golden.images.assign(at, at + count * kImageBytes);
  at += count * kImageBytes;
  golden.labels.assign(at, at + count);
  if (*std::max_element(golden.labels.begin(), golden.labels.end()) >= kClasses) {
    throw Error(ErrorCode::bad_artifact, "golden digits: a label is above 9");
  }
  return golden;
}

float golden_tolerance(Precision precision, Precision reference) noexcept {
  switch (precision) {
    case Precision::fp32:
      return 1e-3F;
    case Precision::fp16:
      return 0.1F;
    case Precision::int8:
      return reference == Precision::int8 ? 1.0F : 8.0F;
  }
  return 0.0F;
}

SelfCheck compare_golden(const Golden& golden, std::span<const float> logits, Precision precision) {
  SelfCheck check;
  check.total = golden.count();
  check.tolerance = golden_tolerance(precision, golden.reference);
  double sum = 0;
  for (std::size_t i = 0; i < golden.count(); ++i) {
    const auto got = logits.subspan(i * kClasses).first<kClasses>();
    const auto want = std::span(golden.logits).subspan(i * kClasses).first<kClasses>();
    const std::int32_t label = predict(got).label;
    check.agree += label == predict(want).label ? 1 : 0;
    check.correct += label == golden.labels[i] ? 1 : 0;
    for (std::size_t j = 0; j < kClasses; ++j) {
      float diff = std::abs(got[j] - want[j]);
      // A NaN compares false with everything; it must not pass.
      if (std::isnan(diff)) diff = std::numeric_limits<float>::infinity();
      check.max_abs_diff = std::max(check.max_abs_diff, diff);
      sum += diff;
    }
  }
  check.mean_abs_diff = static_cast<float>(sum / static_cast<double>(logits.size()));
  return check;
}

}  // namespace mnistkit::detail
