#include "core/golden.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "core/classify.hpp"
#include "core/npz.hpp"
#include "mnistkit/error.hpp"

namespace mnistkit::detail {
namespace {

constexpr std::size_t kMaxCount = 1024;

[[noreturn]] void refuse_golden(const std::string& fault) {
  throw Error(ErrorCode::bad_artifact, "golden digits: " + fault);
}

/// The bytes of an array of that kind, whose first dimension is `count`.
std::span<const std::uint8_t> bytes_of(const Npz& npz, const std::string& name,
                                       std::string_view dtype, std::vector<std::size_t> shape) {
  const NpzArray array = npz.at(name);
  if (array.dtype != dtype || array.shape != shape)
    refuse_golden(name + " have another type or shape");
  return array.data;
}

std::vector<std::string> read_names(const NpzArray& names) {
  if (names.shape.size() != 1 || !names.dtype.starts_with("|S") || names.shape[0] != kClasses) {
    refuse_golden("wanted the names of " + std::to_string(kClasses) + " classes");
  }
  const std::size_t room = names.data.size() / kClasses;
  std::vector<std::string> read;
  for (std::size_t i = 0; i < kClasses; ++i) {
    const auto* begin = reinterpret_cast<const char*>(names.data.data()) + i * room;
    read.emplace_back(begin, std::find(begin, begin + room, '\0'));  // padded with zeros
  }
  return read;
}

std::vector<float> read_logits(std::span<const std::uint8_t> bytes) {
  std::vector<float> logits(bytes.size() / sizeof(float));
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::uint8_t* at = bytes.data() + i * sizeof(float);
    logits[i] = std::bit_cast<float>(std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 |
                                     std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24);
    if (!std::isfinite(logits[i])) refuse_golden("a reference logit is not finite");
  }
  return logits;
}

std::int32_t label_of(std::span<const float> logits, std::size_t index) {
  return predict(logits.subspan(index * kClasses).first<kClasses>()).label;
}

}  // namespace

std::size_t Golden::correct() const noexcept {
  std::size_t correct = 0;
  for (std::size_t i = 0; i < count(); ++i) correct += label_of(logits, i) == labels[i] ? 1 : 0;
  return correct;
}

Golden parse_golden(std::span<const std::uint8_t> file, Precision precision) {
  const Npz npz(file);
  const bool schema_1 = npz.has("logits");
  const NpzArray labels = npz.at("labels");
  const std::size_t count = labels.shape[0];
  if (labels.dtype != "|u1" || labels.shape.size() != 1 || count == 0 || count > kMaxCount) {
    refuse_golden("wanted labels of 1 to " + std::to_string(kMaxCount) + " digits");
  }
  Golden golden;
  golden.labels.assign(labels.data.begin(), labels.data.end());
  if (*std::max_element(golden.labels.begin(), golden.labels.end()) >= kClasses) {
    refuse_golden("a label is above 9");
  }
  const auto images = bytes_of(npz, "images", "|u1", {count, 1, kImageSide, kImageSide});
  golden.images.assign(images.begin(), images.end());
  if (!schema_1) golden.classes = read_names(npz.at("classes"));
  const std::string name = schema_1 ? "logits" : std::string("logits_") + to_string(precision);
  golden.logits = read_logits(bytes_of(npz, name, "<f4", {count, kClasses}));
  return golden;
}

SelfCheck compare_golden(const Golden& golden, std::span<const float> logits,
                         const Tolerance& tolerance) {
  SelfCheck check;
  check.total = golden.count();
  check.tolerance = tolerance.most;
  check.unusual_allowed =
      static_cast<std::size_t>(std::ceil(tolerance.rare * static_cast<float>(check.total)));
  double sum = 0;
  for (std::size_t i = 0; i < golden.count(); ++i) {
    const std::int32_t label = label_of(logits, i);
    check.agree += label == label_of(golden.logits, i) ? 1 : 0;
    check.correct += label == golden.labels[i] ? 1 : 0;
    float worst = 0;
    for (std::size_t j = i * kClasses; j < (i + 1) * kClasses; ++j) {
      float diff = std::abs(logits[j] - golden.logits[j]);
      // A NaN compares false with everything; it must not pass.
      if (std::isnan(diff)) diff = std::numeric_limits<float>::infinity();
      worst = std::max(worst, diff);
      sum += diff;
    }
    check.max_abs_diff = std::max(check.max_abs_diff, worst);
    check.unusual += worst > tolerance.typical ? 1 : 0;
  }
  check.mean_abs_diff = static_cast<float>(sum / static_cast<double>(logits.size()));
  return check;
}

}  // namespace mnistkit::detail
