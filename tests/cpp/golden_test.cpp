// Golden digits: the file's format, and a comparison that notices what is wrong.
#include "common/golden.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"

namespace {

using mnistkit::Precision;
using mnistkit::SelfCheck;
using mnistkit::detail::compare_golden;
using mnistkit::detail::Golden;
using mnistkit::detail::parse_golden;

/// Two digits: the first is a 3, the second a 7, each with one logit of 5.
std::vector<std::uint8_t> two_digits() {
  std::vector<std::uint8_t> bytes(16 + 2 * (40 + 784 + 1));
  std::memcpy(bytes.data(), "MNKGOLD1\2", 9);
  const std::uint8_t five[] = {0, 0, 0xa0, 0x40};
  std::memcpy(bytes.data() + 16 + 4 * 3, five, 4);
  std::memcpy(bytes.data() + 16 + 40 + 4 * 7, five, 4);
  bytes[16 + 80 + 784] = 200;  // first pixel of the second image
  bytes[bytes.size() - 2] = 3;
  bytes[bytes.size() - 1] = 7;
  return bytes;
}

void reads() {
  const Golden golden = parse_golden(two_digits());
  CHECK_EQ(golden.count(), 2U);
  CHECK_EQ(golden.logits[3], 5.0F);
  CHECK_EQ(golden.logits[17], 5.0F);
  CHECK_EQ(int{golden.images[784]}, 200);
  CHECK_EQ(int{golden.labels[1]}, 7);
}

void refuses() {
  const auto altered = [](std::size_t at, std::uint8_t value) {
    std::vector<std::uint8_t> bytes = two_digits();
    bytes[at] = value;
    return parse_golden(bytes);
  };
  CHECK_ERROR(bad_artifact, "MNKGOLD1", altered(7, '2'));
  CHECK_ERROR(bad_artifact, "count of 3", altered(8, 3));
  CHECK_ERROR(bad_artifact, "count of 0", altered(8, 0));
  CHECK_ERROR(bad_artifact, "count of", altered(11, 255));
  CHECK_ERROR(bad_artifact, "count of 2", altered(12, 1));
  CHECK_ERROR(bad_artifact, "above 9", altered(16 + 2 * 825 - 1, 10));
  std::vector<std::uint8_t> bytes = two_digits();
  bytes[18] = 0x80, bytes[19] = 0x7f;  // infinity
  CHECK_ERROR(bad_artifact, "not finite", parse_golden(bytes));
  bytes.pop_back();
  CHECK_ERROR(bad_artifact, "bytes do not fit", parse_golden(bytes));
  CHECK_ERROR(bad_artifact, "MNKGOLD1", parse_golden({}));
}

void compares() {
  const Golden golden = parse_golden(two_digits());
  std::vector<float> logits = golden.logits;
  CHECK(compare_golden(golden, logits, Precision::fp32).passed());
  logits[0] += 0.01F;
  const SelfCheck off = compare_golden(golden, logits, Precision::fp32);
  CHECK(!off.passed());
  CHECK_EQ(off.agree, 2U);
  CHECK(std::abs(off.max_abs_diff - 0.01F) < 1e-6F);
  CHECK(compare_golden(golden, logits, Precision::fp16).passed());
  logits = golden.logits;
  logits[0] = 2.0F;
  CHECK(compare_golden(golden, logits, Precision::int8).passed());  // of the fp32 net's logits
  Golden exact = golden;
  exact.reference = Precision::int8;
  CHECK(!compare_golden(exact, logits, Precision::int8).passed());
  logits[0] = 0.9F;
  CHECK(compare_golden(exact, logits, Precision::int8).passed());
  logits[0] = 5.5F;  // within int8's tolerance, and another digit
  const SelfCheck other = compare_golden(golden, logits, Precision::int8);
  CHECK_EQ(other.agree, 1U);
  CHECK_EQ(other.correct, 1U);
  CHECK(!other.passed());
  logits = golden.logits;
  logits[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(!compare_golden(golden, logits, Precision::int8).passed());
  CHECK(!SelfCheck{}.passed());
}

}  // namespace

int main() {
  return mnistkit::test::run({{"reads", reads}, {"refuses", refuses}, {"compares", compares}});
}
