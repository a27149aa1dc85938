// mnistkit::Batcher on a real model: whatever batch a digit ends up in, its answer is its own.
#include <cmath>

#include "batcher_storm.hpp"
#include "check.hpp"
#include "core/classify.hpp"
#include "golden_digits.hpp"

namespace {

using namespace mnistkit;

struct Digits {
  detail::Golden golden = test::golden_digits();

  [[nodiscard]] std::span<const std::uint8_t> image(std::size_t n) const {
    return std::span(golden.images).subspan(n % golden.count() * kImageBytes, kImageBytes);
  }
  [[nodiscard]] bool is_answer(std::size_t n, const Batcher::Answer& answer) const {
    const auto row = std::span(golden.logits).subspan(n % golden.count() * kClasses);
    const auto reference = row.first<kClasses>();
    for (std::size_t i = 0; i < kClasses; ++i) {
      if (!(std::abs(answer.logits[i] - reference[i]) <= 1e-3F)) return false;
    }
    return answer.prediction.label == detail::predict(reference).label;
  }
};

Runner open() {
  RunnerOptions options;
  options.threads = 1;
  options.warmup = {1, 8, 64};
  return Runner(test::artifact(), options);
}

void storm() {
  const Digits digits;
  Batcher batcher(open(), {.max_batch = 64,
                           .max_wait = std::chrono::microseconds(500),
                           .max_queue = 256,
                           .workers = 2});
  test::storm(
      batcher, [&](std::size_t n) { return digits.image(n); },
      [&](std::size_t n, const Batcher::Answer& answer) { return digits.is_answer(n, answer); });
}

void shared_runner() {
  const Digits digits;
  const auto runner = std::make_shared<const Runner>(open());
  Batcher first(runner);
  Batcher second(runner, {.max_batch = 1, .max_wait = std::chrono::microseconds(0)});
  const auto one = first.submit(digits.image(3));
  const auto other = second.submit(digits.image(4));
  CHECK(digits.is_answer(3, one.get()));
  CHECK(digits.is_answer(4, other.get()));
  CHECK(runner->self_check().passed());
  CHECK_ERROR(invalid_argument, "null", Batcher(std::shared_ptr<const Runner>()));
}

/// A Runner that cannot run fails the requests, not the process.
void moved_from() {
  Runner runner = open();
  const Runner holds_it = std::move(runner);
  Batcher batcher(std::move(runner));  // NOLINT(bugprone-use-after-move): that is what is tested
  CHECK_ERROR(closed, "moved from", batcher.submit(Digits().image(0)).get());
}

}  // namespace

int main() {
  return mnistkit::test::run(
      {{"storm", storm}, {"shared runner", shared_runner}, {"moved from", moved_from}});
}
