// Many threads, many requests, random cancellations: for any model behind a Batcher.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "check.hpp"
#include "mnistkit/batcher.hpp"

namespace mnistkit::test {

constexpr std::size_t kStormThreads = 8;
constexpr std::size_t kStormRequests = 10000;  // a thread

/// Each thread keeps some requests in flight and cancels about one in ten of them. `image(n)` gives
/// the picture of request n, `right(n, answer)` says whether the answer is its own.
inline void storm(Batcher& batcher,
                  const std::function<std::span<const std::uint8_t>(std::size_t)>& image,
                  const std::function<bool(std::size_t, const Batcher::Answer&)>& right) {
  std::atomic<std::size_t> answered = 0;
  std::atomic<std::size_t> cancelled = 0;
  std::atomic<std::size_t> wrong = 0;
  std::atomic<std::size_t> called_back = 0;

  const auto client = [&](std::size_t thread) {
    struct Sent {
      std::size_t n;
      bool taken_back;
      Batcher::Request request;
    };
    std::mt19937 random(static_cast<unsigned>(thread));
    std::deque<Sent> in_flight;
    const auto settle = [&](const Sent& sent) {
      try {
        const Batcher::Answer answer = sent.request.get();
        ++answered;
        if (sent.taken_back || !right(sent.n, answer)) ++wrong;
      } catch (const Error& error) {
        ++cancelled;
        if (!sent.taken_back || error.code() != ErrorCode::cancelled) ++wrong;
      }
    };
    for (std::size_t i = 0; i < kStormRequests; ++i) {
      const std::size_t n = thread * kStormRequests + i;
      Batcher::Callback callback;
      if (n % 4 == 0) callback = [&](const Batcher::Request&) { ++called_back; };
      in_flight.push_back({n, false, batcher.submit(image(n), std::move(callback))});
      if (random() % 10 == 0) {
        Sent& one = in_flight[random() % in_flight.size()];
        if (one.request.cancel()) one.taken_back = true;
      }
      if (in_flight.size() > random() % 64) {
        settle(in_flight.front());
        in_flight.pop_front();
      }
    }
    for (const Sent& sent : in_flight) settle(sent);
  };

  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kStormThreads; ++t) threads.emplace_back(client, t);
  for (std::thread& thread : threads) thread.join();
  batcher.close();

  constexpr std::size_t kAll = kStormThreads * kStormRequests;
  const BatcherStats stats = batcher.stats();
  CHECK_EQ(wrong.load(), 0U);
  CHECK_EQ(answered + cancelled, kAll);
  CHECK_EQ(called_back.load(), kAll / 4);
  CHECK_EQ(stats.accepted, kAll);
  CHECK_EQ(stats.answered, answered.load());
  CHECK_EQ(stats.cancelled, cancelled.load());
  CHECK_EQ(stats.failed, 0U);
  CHECK(answered > 0);
  CHECK(stats.batches < stats.answered);  // it did gather
}

}  // namespace mnistkit::test
