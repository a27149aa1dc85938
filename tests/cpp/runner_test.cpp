// mnistkit::Runner: right answers, and every wrong call answered with an error.
#include "mnistkit/runner.hpp"

#include <atomic>
#include <cmath>
#include <thread>

#include "check.hpp"
#include "core/classify.hpp"
#include "golden_digits.hpp"
#include "scratch.hpp"

namespace {

using namespace mnistkit;
using mnistkit::test::FakeArtifact;
using mnistkit::test::Scratch;

using test::golden_digits;

/// The class that the reference logits give to golden digit `i`.
int reference_label(const detail::Golden& digits, std::size_t i) {
  const auto row = std::span(digits.logits).subspan(i * kClasses).first<kClasses>();
  return detail::predict(row).label;
}

RunnerOptions without_warmup() {
  RunnerOptions options;
  options.warmup = {};
  return options;
}

void matches_the_reference() {
  RunnerOptions options;
  options.warmup = {1, 20, 7};
  const Runner runner(test::artifact(), options);
  const SelfCheck check = runner.self_check();
  CHECK(check.passed());
  CHECK_EQ(check.total, golden_digits().count());
  const detail::Golden digits = golden_digits();
  const std::vector<Prediction> predictions = runner.classify(digits.images);
  const std::vector<float> logits = runner.logits(digits.images);
  CHECK_EQ(predictions.size(), digits.count());
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    CHECK_EQ(predictions[i].label, reference_label(digits, i));
    CHECK(predictions[i].probability > 0.1F && predictions[i].probability <= 1.0F);
  }
  for (std::size_t i = 0; i < logits.size(); ++i) {
    CHECK(std::abs(logits[i] - digits.logits[i]) <= 1e-3F);
  }
  CHECK_EQ(runner.options().device, "cpu");
  CHECK(!runner.net().empty());
}

/// The same answer for an image in whatever batch, cut into whatever pieces.
void batch_sizes() {
  const detail::Golden digits = golden_digits();
  RunnerOptions options = without_warmup();
  options.max_batch = 100;
  const Runner runner(test::artifact(), options);
  for (const std::size_t batch : {1U, 2U, 99U, 100U, 101U, 4097U}) {
    std::vector<std::uint8_t> images;
    for (std::size_t i = 0; i < batch; ++i) {
      const auto* image = digits.images.data() + i % digits.count() * kImageBytes;
      images.insert(images.end(), image, image + kImageBytes);
    }
    const std::vector<float> logits = runner.logits(images);
    const std::vector<Prediction> predictions = runner.classify(images);
    CHECK_EQ(logits.size(), batch * kClasses);
    CHECK_EQ(predictions.size(), batch);
    float worst = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      worst = std::max(worst, std::abs(logits[i] - digits.logits[i % digits.logits.size()]));
    }
    CHECK(worst <= 1e-3F);
    CHECK_EQ(predictions.back().label, reference_label(digits, (batch - 1) % digits.count()));
  }
  CHECK(runner.logits({}).empty());
  CHECK(runner.classify({}).empty());
}

/// The int8 net, where the artifact has one; its digits may differ from the reference's.
void int8() {
  RunnerOptions options = {.precision = Precision::int8, .warmup = {1, 16}, .verify = false};
  if (!test::fs::exists(test::artifact() / "model-int8.torchscript")) {
    CHECK_ERROR(unavailable, "int8", Runner(test::artifact(), options));
    return;
  }
  const Runner runner(test::artifact(), options);
  const SelfCheck check = runner.self_check();
  CHECK(check.max_abs_diff > 0 && check.max_abs_diff <= check.tolerance);
  const detail::Golden digits = golden_digits();
  const std::vector<float> together = runner.logits(digits.images);
  for (std::size_t i = 0; i < digits.count(); ++i) {
    const auto image = std::span(digits.images).subspan(i * kImageBytes, kImageBytes);
    const std::vector<float> alone = runner.logits(image);
    // The integers are the same; what follows them is summed in another order.
    for (std::size_t j = 0; j < kClasses; ++j) {
      CHECK(std::abs(alone[j] - together[i * kClasses + j]) <= 1e-3F);
    }
  }
}

void wrong_sizes() {
  const Runner runner(test::artifact(), without_warmup());
  const std::vector<std::uint8_t> images(2 * kImageBytes);
  const std::span<const std::uint8_t> all = images;
  std::vector<float> logits(20);
  const std::span<float> out = logits;
  CHECK_ERROR(invalid_argument, "got 783 bytes", runner.logits(all.first(783)));
  CHECK_ERROR(invalid_argument, "got 785 bytes", runner.classify(all.first(785)));
  CHECK_ERROR(invalid_argument, "wanted exactly 20", (runner.logits(all, out.first(19)), 0));
  CHECK_ERROR(invalid_argument, "wanted exactly 10", (runner.logits(all.first(784), out), 0));
  std::vector<Prediction> predictions(3);
  CHECK_ERROR(invalid_argument, "wanted exactly 2", (runner.classify(all, predictions), 0));
  constexpr const std::uint8_t* kNull = nullptr;
  CHECK_ERROR(invalid_argument, "null", runner.logits({kNull, kImageBytes}));
  CHECK_ERROR(invalid_argument, "null",
              (runner.logits(all, {static_cast<float*>(nullptr), 20}), 0));
  CHECK(runner.self_check().passed());
}

void wrong_options() {
  const auto open = [](const RunnerOptions& options) { return Runner(test::artifact(), options); };
  CHECK_ERROR(invalid_argument, "got 'gpu'", open({.device = "gpu"}));
  CHECK_ERROR(invalid_argument, "got 'cuda:'", open({.device = "cuda:"}));
  CHECK_ERROR(invalid_argument, "got 'cuda:-1'", open({.device = "cuda:-1"}));
  CHECK_ERROR(invalid_argument, "got 'cuda:1x'", open({.device = "cuda:1x"}));
  CHECK_ERROR(unavailable, "cuda:99", open({.device = "cuda:99"}));
  CHECK_ERROR(unavailable, "fp16 needs a GPU", open({.precision = Precision::fp16}));
  CHECK_ERROR(invalid_argument, "threads: got -1", open({.threads = -1}));
  CHECK_ERROR(invalid_argument, "warmup: got 0", open({.warmup = {1, 0}}));
  CHECK_ERROR(invalid_argument, "max_batch: got -1", open({.max_batch = -1}));
  CHECK_ERROR(invalid_argument, "max_batch", open({.max_batch = std::int64_t{1} << 40}));
  CHECK_ERROR(invalid_argument, "got 'fp64'", parse_precision("fp64"));
}

void wrong_artifacts() {
  const auto open = [](const test::fs::path& path, bool verify) {
    RunnerOptions options = without_warmup();
    options.verify = verify;
    return Runner(path, options);
  };
  CHECK_ERROR(not_found, "no such folder", open("/nowhere/at/all", true));
  CHECK_ERROR(newer_schema, "reads up to", open(FakeArtifact("x", "9").path(), true));
  const FakeArtifact without("x");
  test::fs::remove(without / "golden.npz");
  CHECK_ERROR(not_found, "golden.npz", open(without.path(), true));
  CHECK_ERROR(bad_artifact, "m.torchscript", open(FakeArtifact("x").path(), false));
  CHECK_ERROR(bad_artifact, "not a TorchScript file", open(FakeArtifact("").path(), false));
  std::string model = test::read_text(test::artifact() / "model-fp32.torchscript");
  CHECK_ERROR(bad_artifact, "not a TorchScript file",
              open(FakeArtifact(model.substr(0, model.size() / 2)).path(), false));
}

/// A copy whose model is another file than the manifest says, or whose reference is another.
void damaged_copy() {
  const Scratch copy;
  test::fs::copy(test::artifact(), copy.path(), test::fs::copy_options::recursive);
  const auto model = copy / "model-fp32.torchscript";
  const std::string whole = test::read_text(model);
  std::string damaged = whole;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  test::write_text(model, damaged);
  CHECK_ERROR(bad_artifact, "model-fp32.torchscript: SHA-256", Runner(copy.path()));
  test::write_text(model, whole);

  const std::string reference = test::read_text(copy / "golden.npz");
  std::string other = reference;
  const detail::Golden digits = golden_digits();
  const std::size_t first = other.find(test::bytes_of(digits.logits));
  const auto put = [&](float logit) {
    other.replace(first, sizeof(float), test::bytes_of({logit}));
    test::write_text(copy / "golden.npz", other);
  };
  put(digits.logits[0] + 0.002F);
  CHECK_ERROR(bad_artifact, "golden.npz: SHA-256", Runner(copy.path()));
  std::string manifest = test::read_text(copy / "manifest.json");
  const std::string digest = test::sha256_of(reference);
  manifest.replace(manifest.find(digest), digest.size(), test::sha256_of(other));
  test::write_text(copy / "manifest.json", manifest);
  CHECK_ERROR(check_failed, "self-check failed", Runner(copy.path()));
  RunnerOptions options = without_warmup();
  options.verify = false;
  CHECK(!Runner(copy.path(), options).self_check().passed());
}

void moves() {
  Runner first(test::artifact(), without_warmup());
  Runner second(std::move(first));
  CHECK(second.valid());
  CHECK(second.self_check().passed());
  CHECK(!first.valid());  // NOLINT(bugprone-use-after-move): that is what is tested
  CHECK_ERROR(closed, "moved from", first.logits(std::vector<std::uint8_t>(kImageBytes)));
  CHECK_ERROR(closed, "moved from", first.self_check());
  CHECK_ERROR(closed, "moved from", first.options());
  first = std::move(second);
  CHECK(first.self_check().passed());
}

void many_threads() {
  const detail::Golden digits = golden_digits();
  const Runner runner(test::artifact(), without_warmup());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 50; ++i) {
        const std::size_t at = (i * 4 + t) % digits.count();
        const auto image = std::span(digits.images).subspan(at * kImageBytes, kImageBytes);
        if (runner.classify(image)[0].label != reference_label(digits, at)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

}  // namespace

int main() {
  return mnistkit::test::run({{"matches the reference", matches_the_reference},
                              {"batch sizes", batch_sizes},
                              {"int8", int8},
                              {"wrong sizes", wrong_sizes},
                              {"wrong options", wrong_options},
                              {"wrong artifacts", wrong_artifacts},
                              {"damaged copy", damaged_copy},
                              {"moves", moves},
                              {"many threads", many_threads}});
}
