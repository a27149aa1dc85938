// mnistkit::Runner, its C API and a Batcher on it, in a child of fork(): libtorch's threads are not
// there, and nothing waits for them. 16 threads on one of them give right answers.
#include <atomic>
#include <thread>
#include <vector>

#include "check.hpp"
#include "core/classify.hpp"
#include "golden_digits.hpp"
#include "in_child.hpp"
#include "mnistkit/batcher.hpp"
#include "mnistkit/mnistkit.h"
#include "mnistkit/runner.hpp"

namespace {

using namespace mnistkit;

const detail::Golden& digits() {
  static const detail::Golden golden = test::golden_digits();
  return golden;
}

/// Many images: enough for libtorch to use its threads.
std::vector<std::uint8_t> many() {
  std::vector<std::uint8_t> images;
  for (int i = 0; i < 20; ++i) {
    images.insert(images.end(), digits().images.begin(), digits().images.end());
  }
  return images;
}

std::span<const std::uint8_t> image(std::size_t n, std::size_t count = 1) {
  return std::span(digits().images)
      .subspan(n % (digits().count() - count) * kImageBytes, count * kImageBytes);
}

int label(std::size_t n, std::size_t count = 1) {
  const std::size_t at = n % (digits().count() - count);
  return detail::predict(std::span(digits().logits).subspan(at * kClasses).first<kClasses>()).label;
}

Runner open(int threads) {
  RunnerOptions options;
  options.threads = threads;
  return Runner(test::artifact(), options);
}

void runner() {
  Runner runner = open(2);
  const std::vector<std::uint8_t> images = many();
  const std::size_t count = runner.classify(images).size();
  IN_CHILD(const std::string made = "this Runner was made by process " + std::to_string(getppid());
           CHECK_ERROR(closed, made, runner.classify(images));
           CHECK_ERROR(closed, made, runner.logits(image(0)));
           CHECK_ERROR(closed, made, runner.self_check()); const Runner moved = std::move(runner);
           CHECK_ERROR(closed, made, moved.logits(image(0))););
  CHECK_EQ(runner.classify(images).size(), count);
}

void a_new_runner() {
  const std::vector<std::uint8_t> images = many();
  const Runner parent = open(2);
  const std::vector<Prediction> wanted = parent.classify(images);
  IN_CHILD(CHECK_ERROR(invalid_argument, "was forked after process", open(2));
           for (const int threads : {0, 1}) {
             const Runner runner = open(threads);
             const std::vector<Prediction> got = runner.classify(images);
             for (std::size_t i = 0; i < got.size(); ++i) CHECK_EQ(got[i].label, wanted[i].label);
           });
}

void c_handles() {
  mnistkit_runner* runner = nullptr;
  const std::string path = test::artifact().string();
  CHECK_EQ(mnistkit_runner_open(path.c_str(), nullptr, &runner), MNISTKIT_OK);
  mnistkit_prediction one = {};
  const auto classify = [&](mnistkit_runner* handle) {
    return mnistkit_runner_classify(handle, image(3).data(), kImageBytes, &one, 1);
  };
  // The fork comes while other threads look handles up, and open and close them.
  std::atomic<bool> stop = false;
  const int others = test::kMayForkWhileOthersAllocate ? 3 : 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < others; ++i) {
    callers.emplace_back([&] {
      while (!stop) {
        mnistkit_prediction mine = {};
        CHECK_EQ(mnistkit_runner_classify(runner, image(3).data(), kImageBytes, &mine, 1),
                 MNISTKIT_OK);
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    IN_CHILD(CHECK_EQ(classify(runner), MNISTKIT_CLOSED);
             CHECK(std::string(mnistkit_last_error()).find("made by process") != std::string::npos);
             CHECK_EQ(mnistkit_runner_close(runner), MNISTKIT_OK););
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  IN_CHILD(mnistkit_runner_options options; mnistkit_runner_options_init(&options);
           options.threads = 1; mnistkit_runner* own = nullptr;
           CHECK_EQ(mnistkit_runner_open(path.c_str(), &options, &own), MNISTKIT_OK);
           CHECK(own != runner); CHECK_EQ(classify(own), MNISTKIT_OK);
           CHECK_EQ(one.label, label(3)); CHECK_EQ(mnistkit_runner_close(own), MNISTKIT_OK);
           CHECK_EQ(classify(own), MNISTKIT_CLOSED););
  CHECK_EQ(classify(runner), MNISTKIT_OK);
  CHECK_EQ(mnistkit_runner_close(runner), MNISTKIT_OK);
}

void batcher() {
  auto shared = std::make_unique<Batcher>(open(1), BatcherOptions{.max_batch = 8});
  CHECK_EQ(shared->classify(image(5)).label, label(5));
  IN_CHILD(CHECK_ERROR(closed, "this Batcher was made by process", shared->classify(image(5)));
           shared.reset(); Batcher own(open(1)); CHECK_EQ(own.classify(image(5)).label, label(5)););
  CHECK_EQ(shared->classify(image(5)).label, label(5));
}

void sixteen_threads() {
  const Runner runner = open(1);
  Batcher batcher(open(1), {.max_batch = 8});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 50; ++i) {
        const std::size_t n = i * 16 + t, count = 1 + n % 8;
        if (runner.classify(image(n, count))[0].label != label(n, count)) ++wrong;
        if (batcher.classify(image(n)).label != label(n)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

}  // namespace

int main() {
  return mnistkit::test::run({{"runner", runner},
                              {"a new runner", a_new_runner},
                              {"C handles", c_handles},
                              {"batcher", batcher},
                              {"sixteen threads", sixteen_threads}});
}
