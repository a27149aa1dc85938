// Golden digits: the file's format, and a comparison that notices what is wrong.
#include "core/golden.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "npz_writer.hpp"

namespace {

using mnistkit::Precision;
using mnistkit::SelfCheck;
using mnistkit::detail::compare_golden;
using mnistkit::detail::Golden;
using mnistkit::detail::parse_golden;
using mnistkit::test::bytes_of;
using mnistkit::test::golden_members;
using mnistkit::test::Member;

Golden parse(const std::string& file, Precision precision = Precision::fp32) {
  return parse_golden({reinterpret_cast<const std::uint8_t*>(file.data()), file.size()}, precision);
}

void reads() {
  std::vector<Member> members = golden_members("\3\7");
  members[0].data[784] = '\xc8';  // the first pixel of the second image
  members[5].data = bytes_of(std::vector<float>(20, -2));
  const std::string file = mnistkit::test::npz(members);
  const Golden golden = parse(file);
  CHECK_EQ(golden.count(), 2U);
  CHECK_EQ(golden.logits[3], 5.0F);
  CHECK_EQ(golden.logits[17], 5.0F);
  CHECK_EQ(int{golden.images[784]}, 200);
  CHECK_EQ(int{golden.labels[1]}, 7);
  CHECK_EQ(golden.classes.size(), 10U);
  CHECK_EQ(golden.classes[9], "9");
  CHECK_EQ(golden.correct(), 2U);
  CHECK_EQ(parse(file, Precision::int8).logits[3], -2.0F);
  CHECK_EQ(parse(file, Precision::int8).correct(), 0U);
}

void reads_names_of_any_length() {
  std::vector<Member> members = golden_members("\3\7");
  members[2] = {"classes", "|S12", "10,", std::string(120, '\0')};
  members[2].data.replace(12, 11, "T-shirt/top");
  members[2].data.replace(24, 12, "twelve bytes");
  const Golden golden = parse(mnistkit::test::npz(members));
  CHECK_EQ(golden.classes[0], "");
  CHECK_EQ(golden.classes[1], "T-shirt/top");
  CHECK_EQ(golden.classes[2], "twelve bytes");
}

void refuses_arrays() {
  const auto with = [](std::size_t index, const Member& member) {
    std::vector<Member> members = golden_members("\3\7");
    members[index] = member;
    return parse(mnistkit::test::npz(members));
  };
  const std::string pixels(2 * 784, '\0'), zeros(80, '\0');
  std::vector<float> infinite(20);
  infinite[4] = std::numeric_limits<float>::infinity();
  CHECK_ERROR(bad_artifact, "images have another", with(0, {"images", "|u1", "2, 28, 28", pixels}));
  CHECK_ERROR(bad_artifact, "holds no images", with(0, {"image", "|u1", "2, 1, 28, 28", pixels}));
  CHECK_ERROR(bad_artifact, "1 to 1024 digits", with(1, {"labels", "|u1", "0,", ""}));
  CHECK_ERROR(bad_artifact, "1 to 1024 digits",
              with(1, {"labels", "|u1", "1025,", std::string(1025, '\0')}));
  CHECK_ERROR(bad_artifact, "images have another", with(1, {"labels", "|u1", "1,", "\3"}));
  CHECK_ERROR(bad_artifact, "above 9", with(1, {"labels", "|u1", "2,", "\3\n"}));
  CHECK_ERROR(bad_artifact, "names of 10", with(2, {"classes", "|S1", "9,", "012345678"}));
  CHECK_ERROR(bad_artifact, "logits_fp32 have", with(3, {"logits_fp32", "<f4", "20,", zeros}));
  CHECK_ERROR(bad_artifact, "an array of <f8", with(3, {"logits_fp32", "<f8", "1, 10", zeros}));
  CHECK_ERROR(bad_artifact, "not finite",
              with(3, {"logits_fp32", "<f4", "2, 10", bytes_of(infinite)}));
  CHECK_ERROR(bad_artifact, "cut short", with(3, {"logits_fp32", "<f4", "99, 10", zeros}));
  CHECK_ERROR(bad_artifact, "cut short", with(0, {"images", "|u1", "4294967295, 4294967295", ""}));
  CHECK_ERROR(bad_artifact, "too large", with(0, {"images", "|u1", "4294967296,", ""}));
  CHECK_ERROR(bad_artifact, "not numpy's", with(0, {"images", "|u1", "two", ""}));
  CHECK_ERROR(bad_artifact, "an array of |S0", with(2, {"classes", "|S0", "10,", ""}));
}

void refuses_files() {
  const std::string whole = mnistkit::test::npz(golden_members("\3\7"));
  CHECK_ERROR(bad_artifact, "not a whole zip", parse(""));
  for (std::size_t size = 0; size < whole.size(); size += 13) {
    CHECK_ERROR(bad_artifact, "npz", parse(whole.substr(0, size)));
  }
  const auto altered = [&](std::size_t from_end, char value) {
    std::string file = whole;
    file[file.size() - from_end] = value;
    return parse(file);
  };
  CHECK_ERROR(bad_artifact, "directory is damaged", altered(6, '\7'));  // where it begins
  CHECK_ERROR(bad_artifact, "cut short", altered(3, '\x7f'));
  CHECK_ERROR(bad_artifact, "members", altered(11, '\1'));  // 261 of them
  const std::size_t entry = whole.find("PK\1\2");
  CHECK_ERROR(bad_artifact, "compressed", altered(whole.size() - entry - 10, '\x08'));
  // Whatever byte is another, it is read or refused, and nothing else happens.
  for (std::size_t at = 0; at < whole.size(); at += at < 200 || at > entry ? 1 : 37) {
    for (const char change : {'\1', '\x80', '\xff'}) {
      std::string file = whole;
      file[at] = static_cast<char>(file[at] ^ change);
      try {
        CHECK(parse(file).count() > 0);
      } catch (const mnistkit::Error& error) {
        CHECK(error.code() == mnistkit::ErrorCode::bad_artifact);
      }
    }
  }
}

void compares() {
  const Golden golden = parse(mnistkit::test::npz(golden_members("\3\7")));
  std::vector<float> logits = golden.logits;
  CHECK(compare_golden(golden, logits, {0.0F}).passed());
  logits[0] += 0.01F;
  const SelfCheck off = compare_golden(golden, logits, {1e-3F});
  CHECK(!off.passed());
  CHECK_EQ(off.agree, 2U);
  CHECK(std::abs(off.max_abs_diff - 0.01F) < 1e-6F);
  CHECK(std::abs(off.mean_abs_diff - 0.0005F) < 1e-6F);
  CHECK(compare_golden(golden, logits, {0.1F}).passed());
  CHECK(!compare_golden(golden, logits, {0.0F}).passed());
  logits[0] = 5.5F;  // another digit
  const SelfCheck other = compare_golden(golden, logits, {1e-3F});
  CHECK_EQ(other.agree, 1U);
  CHECK_EQ(other.correct, 1U);
  CHECK(!other.passed());
  // One digit of two may have a logit that is more than usual away from the reference.
  const mnistkit::detail::Tolerance ties = {.most = 1.0F, .typical = 1e-3F, .rare = 0.05F};
  logits = golden.logits;
  logits[0] += 0.9F;
  CHECK(compare_golden(golden, logits, ties).passed());
  CHECK_EQ(compare_golden(golden, logits, ties).unusual, 1U);
  logits[10] += 0.01F;
  CHECK(!compare_golden(golden, logits, ties).passed());
  logits = golden.logits;
  logits[0] += 1.1F;
  CHECK(!compare_golden(golden, logits, ties).passed());
  logits = golden.logits;
  logits[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(!compare_golden(golden, logits, {1e30F}).passed());
  CHECK(!SelfCheck{}.passed());
}

}  // namespace

int main() {
  return mnistkit::test::run({{"reads", reads},
                              {"reads names of any length", reads_names_of_any_length},
                              {"refuses arrays", refuses_arrays},
                              {"refuses files", refuses_files},
                              {"compares", compares}});
}
