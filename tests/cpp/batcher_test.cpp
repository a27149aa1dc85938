// mnistkit::Batcher with a model that is a few lines long: gathering, limits, cancellation, errors,
// closing. Nothing here is to hang; ctest ends what does.
#include "mnistkit/batcher.hpp"

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "batcher_storm.hpp"
#include "check.hpp"

namespace {

using namespace mnistkit;
using namespace std::chrono_literals;
using Image = std::array<std::uint8_t, kImageBytes>;
using Images = std::span<const std::uint8_t>;

/// A picture that carries a number.
Image picture(std::uint32_t n) {
  Image image = {};
  std::memcpy(image.data(), &n, sizeof n);
  return image;
}

/// The logits of a number: its class is n % 10, and no two numbers below 2^24 have the same.
std::array<float, kClasses> logits_of(std::uint32_t n) {
  std::array<float, kClasses> logits = {};
  logits[n % kClasses] = static_cast<float>(n + 1);
  return logits;
}

bool is_answer(std::uint32_t n, const Batcher::Answer& answer) {
  return answer.logits == logits_of(n) && answer.prediction.label == int(n % kClasses);
}

void model(Images images, std::span<float> logits) {
  for (std::size_t i = 0; i * kImageBytes < images.size(); ++i) {
    std::uint32_t n = 0;
    std::memcpy(&n, images.data() + i * kImageBytes, sizeof n);
    std::ranges::copy(logits_of(n), logits.data() + i * kClasses);
  }
}

/// A model that stands still until it is let go, and tells how large its batches were.
class Gate {
 public:
  Batcher::Function function() {
    return [this](Images images, std::span<float> logits) {
      std::unique_lock lock(mutex_);
      sizes_.push_back(images.size() / kImageBytes);
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_; });
      lock.unlock();
      model(images, logits);
    };
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for_calls(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return sizes_.size() >= count; });
  }
  std::vector<std::size_t> sizes() {
    const std::lock_guard lock(mutex_);
    return sizes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  std::vector<std::size_t> sizes_;
};

void answers() {
  Batcher batcher(model);
  std::vector<Batcher::Request> requests;
  for (std::uint32_t n = 0; n < 300; ++n) requests.push_back(batcher.submit(picture(n)));
  for (std::uint32_t n = 0; n < 300; ++n) {
    CHECK(is_answer(n, requests[n].get()));
    CHECK(is_answer(n, requests[n].get()));  // as often as one likes
    CHECK(requests[n].wait_for(0us));
    CHECK(!requests[n].cancel());
  }
  CHECK_EQ(batcher.classify(picture(7)).label, 7);
  CHECK_EQ(batcher.stats().answered, 301U);
}

/// A full batch waits for nothing, a lone request for max_wait and no more.
void gathers() {
  {
    Batcher batcher(model, {.max_batch = 4, .max_wait = 1h});
    std::vector<Batcher::Request> requests;
    for (std::uint32_t n = 0; n < 8; ++n) requests.push_back(batcher.submit(picture(n)));
    for (std::uint32_t n = 0; n < 8; ++n) CHECK(is_answer(n, requests[n].get()));
    CHECK_EQ(batcher.stats().batches, 2U);
  }
  Batcher batcher(model, {.max_batch = 4, .max_wait = 50ms});
  const auto start = std::chrono::steady_clock::now();
  const Batcher::Request lone = batcher.submit(picture(1));
  CHECK(!lone.wait_for(1us));
  CHECK(is_answer(1, lone.get()));
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(took >= 50ms && took < 10s);
}

/// A queue that cannot hold a whole batch is not waited with: nothing more can come.
void small_queue() {
  for (const std::size_t most : {63U, 8U, 1U}) {
    Batcher batcher(model, {.max_batch = 64, .max_wait = 1h, .max_queue = most});
    std::vector<Batcher::Request> requests;
    for (std::uint32_t n = 0; n < most * 5; ++n) requests.push_back(batcher.submit(picture(n)));
    for (std::uint32_t n = 0; n < most * 5; ++n) {
      const bool answered = requests[n].wait_for(20s);
      CHECK(answered && is_answer(n, requests[n].get()));
      if (!answered) return batcher.close(Batcher::Waiting::cancel);
    }
  }
}

void times_without_end() {
  Batcher batcher(model, {.max_wait = 300ms});
  const Batcher::Request request = batcher.submit(picture(1));
  const auto start = std::chrono::steady_clock::now();
  CHECK(!request.wait_for(std::chrono::microseconds::min()));
  CHECK(!request.wait_for(-1us));
  CHECK(std::chrono::steady_clock::now() - start < 250ms);
  CHECK(request.wait_for(std::chrono::microseconds::max()));
}

void backpressure() {
  Gate gate;
  Batcher batcher(gate.function(), {.max_batch = 2, .max_wait = 0us, .max_queue = 3});
  const Batcher::Request running = batcher.submit(picture(0));
  gate.wait_for_calls(1);
  std::vector<Batcher::Request> queued;
  for (std::uint32_t n = 1; n <= 3; ++n) queued.push_back(*batcher.try_submit(picture(n)));
  CHECK(!batcher.try_submit(picture(4)));
  std::atomic<bool> accepted = false;
  std::thread waiting([&] {
    const Batcher::Request request = batcher.submit(picture(5));
    accepted = true;
    CHECK(is_answer(5, request.get()));
  });
  std::this_thread::sleep_for(20ms);
  CHECK(!accepted);
  CHECK(queued[1].cancel());  // makes room
  while (!accepted) std::this_thread::sleep_for(1ms);
  CHECK(!batcher.try_submit(picture(4)));
  gate.open();
  waiting.join();
  CHECK(is_answer(0, running.get()));
  CHECK(is_answer(3, queued[2].get()));
  for (const std::size_t size : gate.sizes()) CHECK(size >= 1 && size <= 2);
}

void cancellation() {
  Gate gate;
  auto batcher =
      std::make_unique<Batcher>(gate.function(), BatcherOptions{.max_batch = 1, .max_wait = 0us});
  const Batcher::Request running = batcher->submit(picture(0));
  gate.wait_for_calls(1);
  int ended = 0;
  const Batcher::Request queued = batcher->submit(picture(1), [&](const Batcher::Request& request) {
    ++ended;
    CHECK_ERROR(cancelled, "cancelled", request.get());
  });
  CHECK(!queued.wait_for(1us));
  CHECK(queued.cancel());
  CHECK_EQ(ended, 1);
  CHECK(!queued.cancel());
  CHECK_ERROR(cancelled, "cancelled", queued.get());
  CHECK(!running.cancel());
  gate.open();
  CHECK(is_answer(0, running.get()));
  const Batcher::Request last = batcher->submit(picture(2));
  batcher.reset();
  CHECK(is_answer(2, last.get()));  // handles outlive it
  CHECK(!last.cancel());
  CHECK_EQ(gate.sizes().size(), 2U);
}

/// A failure reaches the requests of its batch, and the next batch runs as if nothing had been.
void failures() {
  int call = 0;
  Batcher batcher(
      [&](Images images, std::span<float> logits) {
        switch (call++) {
          case 0:
            throw Error(ErrorCode::check_failed, "of mine");
          case 1:
            throw std::logic_error(std::string(2000, 'x'));
          case 2:
            throw std::bad_alloc();
          case 3:
            throw 4;
        }
        model(images, logits);
      },
      {.max_batch = 2, .max_wait = 1h});
  const auto pair = [&] {
    const Batcher::Request first = batcher.submit(picture(1));
    return std::pair(first, batcher.submit(picture(2)));
  };
  const auto both = pair();
  CHECK_ERROR(check_failed, "of mine", both.first.get());
  CHECK_ERROR(check_failed, "of mine", both.second.get());
  CHECK_ERROR(runtime, "xxxx", pair().first.get());
  CHECK_ERROR(out_of_memory, "memory", pair().second.get());
  CHECK_ERROR(runtime, "unknown type", pair().second.get());
  CHECK(is_answer(2, pair().second.get()));
  CHECK_EQ(batcher.stats().failed, 8U);
}

void wrong_calls() {
  CHECK_ERROR(invalid_argument, "max_batch: got 0", Batcher(model, {.max_batch = 0}));
  CHECK_ERROR(invalid_argument, "max_queue: got 0", Batcher(model, {.max_queue = 0}));
  CHECK_ERROR(invalid_argument, "workers: got 0", Batcher(model, {.workers = 0}));
  CHECK_ERROR(invalid_argument, "workers: got 1000", Batcher(model, {.workers = 1000}));
  CHECK_ERROR(invalid_argument, "max_wait: got -1", Batcher(model, {.max_wait = -1us}));
  CHECK_ERROR(invalid_argument, "max_wait", Batcher(model, {.max_wait = 2h}));
  CHECK_ERROR(invalid_argument, "empty function", Batcher(Batcher::Function()));
  Batcher batcher(model);
  const Image image = picture(0);
  CHECK_ERROR(invalid_argument, "783", batcher.submit(Images(image).first(783)));
  CHECK_ERROR(invalid_argument, "wanted exactly 784", batcher.try_submit(Images(image).first(0)));
  CHECK_ERROR(invalid_argument, "null",
              batcher.submit({static_cast<const std::uint8_t*>(nullptr), kImageBytes}));
  batcher.close();
  batcher.close(Batcher::Waiting::cancel);
  CHECK_ERROR(closed, "no more requests", batcher.submit(image));
  CHECK_ERROR(closed, "no more requests", batcher.try_submit(image));
  CHECK_ERROR(closed, "no more requests", batcher.classify(image));
}

/// Closes while the queue is full and threads wait to submit: nobody is left waiting.
void close_while_full(Batcher::Waiting waiting) {
  Gate gate;
  Batcher batcher(gate.function(), {.max_batch = 2, .max_wait = 1h, .max_queue = 4, .workers = 2});
  std::atomic<int> accepted = 0;
  std::atomic<int> answered = 0;
  std::atomic<int> cancelled = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      try {
        while (true) {
          const Batcher::Request request =
              batcher.submit(picture(t), [&, t](const Batcher::Request& done) {
                try {
                  CHECK(is_answer(t, done.get()));
                  ++answered;
                } catch (const Error& error) {
                  CHECK(error.code() == ErrorCode::cancelled);
                  ++cancelled;
                }
              });
          ++accepted;
        }
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::closed);
        ++refused;
      }
    });
  }
  gate.wait_for_calls(2);
  while (accepted < 8) std::this_thread::sleep_for(1ms);  // 4 run, 4 wait, and the queue is full
  std::thread other([&] { batcher.close(waiting); });
  while (refused < 8) std::this_thread::sleep_for(1ms);
  gate.open();
  batcher.close(waiting);
  other.join();
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(answered + cancelled, accepted.load());
  CHECK_EQ(cancelled.load(), waiting == Batcher::Waiting::cancel ? 4 : 0);
}

void callbacks() {
  std::atomic<int> called = 0;
  std::atomic<int> refused = 0;
  Batcher batcher(model, {.max_batch = 1, .max_wait = 0us, .max_queue = 1});
  // A callback that throws harms nobody; one may submit, and is refused where that would hang.
  for (std::uint32_t n = 0; n < 50; ++n) {
    static_cast<void>(batcher.submit(picture(n), [&](const Batcher::Request& done) {
      static_cast<void>(done.get());
      ++called;
      try {
        for (int i = 0; i < 2; ++i) batcher.submit(picture(0), [&](const auto&) { ++called; });
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::unavailable || error.code() == ErrorCode::closed);
        ++refused;
      }
      throw std::runtime_error("dropped");
    }));
  }
  batcher.close();
  CHECK_EQ(refused.load(), 50);
  CHECK_EQ(static_cast<std::uint64_t>(called.load()), batcher.stats().answered);

  Batcher closing(model, {.max_batch = 1, .max_wait = 0us});
  const Batcher::Request request =
      closing.submit(picture(3), [&](const Batcher::Request&) { closing.close(); });
  CHECK(is_answer(3, request.get()));
}

void storm(BatcherOptions options) {
  std::vector<Image> pictures;
  for (std::uint32_t n = 0; n < test::kStormThreads * test::kStormRequests; ++n) {
    pictures.push_back(picture(n));
  }
  Batcher batcher(model, options);
  test::storm(
      batcher, [&](std::size_t n) -> Images { return pictures[n]; },
      [](std::size_t n, const Batcher::Answer& answer) {
        return is_answer(static_cast<std::uint32_t>(n), answer);
      });
}

}  // namespace

int main() {
  return mnistkit::test::run(
      {{"answers", answers},
       {"gathers", gathers},
       {"small queue", small_queue},
       {"times without end", times_without_end},
       {"backpressure", backpressure},
       {"cancellation", cancellation},
       {"failures", failures},
       {"wrong calls", wrong_calls},
       {"close and answer", [] { close_while_full(Batcher::Waiting::answer); }},
       {"close and cancel", [] { close_while_full(Batcher::Waiting::cancel); }},
       {"callbacks", callbacks},
       {"storm, one worker", [] { storm({.max_batch = 32, .max_wait = 100us, .max_queue = 64}); }},
       {"storm, three workers",
        [] { storm({.max_batch = 7, .max_wait = 0us, .max_queue = 8, .workers = 3}); }}});
}
