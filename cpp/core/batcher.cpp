#include "mnistkit/batcher.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <list>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "core/classify.hpp"
#include "core/process.hpp"

namespace mnistkit {
namespace detail {

/// An error that is copied to many requests: of a fixed size, so that telling of one allocates
/// nothing.
struct Failure {
  Failure(ErrorCode what, std::string_view text) : code(what) {
    message[text.copy(message.data(), message.size() - 1)] = '\0';
  }

  ErrorCode code;
  std::array<char, 512> message;
};

}  // namespace detail

namespace {

using Clock = std::chrono::steady_clock;
using detail::Failure;
using detail::Home;

/// Runs `body` and gives what it threw.
template <class Body>
std::optional<Failure> caught(Body&& body) {
  try {
    body();
    return std::nullopt;
  } catch (const Error& error) {
    return Failure{error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return Failure{ErrorCode::out_of_memory, "out of memory"};
  } catch (const std::exception& error) {
    return Failure{ErrorCode::runtime, error.what()};
  } catch (...) {
    return Failure{ErrorCode::runtime, "an exception of an unknown type"};
  }
}

/// Runs `body` and throws whatever goes wrong as `Error`.
template <class Body>
decltype(auto) translated(Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, "batcher: out of memory");
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::runtime, std::string("batcher: ") + error.what());
  }
}

void check_options(const BatcherOptions& options) {
  const auto check = [](const char* what, std::size_t got, std::size_t most) {
    if (got >= 1 && got <= most) return;
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": got " + std::to_string(got) +
                                                 ", wanted 1 to " + std::to_string(most));
  };
  check("max_batch", options.max_batch, std::size_t{1} << 16);
  check("max_queue", options.max_queue, std::size_t{1} << 24);
  check("workers", options.workers, 256);
  if (options.max_wait < std::chrono::microseconds(0) || options.max_wait > std::chrono::hours(1)) {
    throw Error(ErrorCode::invalid_argument, "max_wait: got " +
                                                 std::to_string(options.max_wait.count()) +
                                                 " microseconds, wanted 0 to an hour");
  }
}

}  // namespace

struct Batcher::Request::State {
  // Written before the request is queued.
  std::array<std::uint8_t, kImageBytes> image;
  Clock::time_point arrived;
  Callback callback;
  Home home;
  std::weak_ptr<Core> core;  // a kept handle must not keep the model

  // Guarded by the Core's mutex.
  std::list<std::shared_ptr<State>>::iterator position;
  bool queued = false;

  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by this mutex, and left alone once done.
  bool done = false;
  Answer answer;
  std::optional<Failure> failure;
};

/// Whoever takes a request out of the queue, under the lock, is the one who ends it: a worker,
/// cancel() or close(). So each is ended exactly once. A worker allocates nothing outside the call
/// of the model, where a failure reaches the requests.
class Batcher::Core : public std::enable_shared_from_this<Core> {
 public:
  using State = Request::State;
  using StatePtr = std::shared_ptr<State>;
  using Queue = std::list<StatePtr>;

  Core(Function model, const BatcherOptions& options)
      : model_(std::move(model)),
        options_(options),
        full_(std::min(options.max_batch, options.max_queue)) {}

  void start() {
    try {
      for (std::size_t i = 0; i < options_.workers; ++i) {
        workers_.emplace_back([this] { work(); });
      }
    } catch (...) {
      close(Waiting::cancel);
      throw;
    }
  }

  /// Null where the queue is full and `wait` is false.
  StatePtr submit(std::span<const std::uint8_t> image, Callback callback, bool wait) {
    home_.check(kName);
    detail::check_output(image.data(), image.size(), kImageBytes, "image, in bytes");
    auto state = std::make_shared<State>();
    std::memcpy(state->image.data(), image.data(), kImageBytes);
    state->callback = std::move(callback);
    state->core = weak_from_this();
    Queue entry = {state};

    std::unique_lock lock(mutex_);
    if (!closed_ && queue_.size() >= options_.max_queue) {
      if (!wait) return nullptr;
      if (is_worker()) {
        throw Error(ErrorCode::unavailable,
                    "batcher: the queue is full, and a callback cannot wait for its own worker; "
                    "use try_submit there");
      }
      space_.wait(lock, [this] { return closed_ || queue_.size() < options_.max_queue; });
    }
    if (closed_) throw Error(ErrorCode::closed, "batcher: closed, and takes no more requests");
    state->arrived = Clock::now();
    state->position = entry.begin();
    state->queued = true;
    queue_.splice(queue_.end(), entry);
    ++stats_.accepted;
    // A worker is told when there is something to wait with, and when there is nothing to wait for.
    const bool tell = queue_.size() == 1 || queue_.size() >= full_;
    lock.unlock();
    if (tell) work_.notify_one();
    return state;
  }

  bool cancel(const StatePtr& state) {
    if (!home_.here()) return false;
    {
      const std::lock_guard lock(mutex_);
      if (!state->queued) return false;
      state->queued = false;
      queue_.erase(state->position);
      ++stats_.cancelled;
    }
    space_.notify_one();
    end_cancelled(state);
    return true;
  }

  void close(Waiting waiting) {
    if (!home_.here()) return;  // there are no threads to wait for, and they may hold the locks
    Queue dropped;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      if (waiting == Waiting::cancel) unqueue(queue_.size(), dropped);
      stats_.cancelled += dropped.size();
    }
    work_.notify_all();
    space_.notify_all();
    for (const StatePtr& state : dropped) end_cancelled(state);
    if (is_worker()) return;
    const std::lock_guard lock(join_mutex_);
    for (std::thread& worker : workers_) {
      if (worker.joinable()) worker.join();
    }
  }

  /// In a child of fork(): this is never destroyed. Condition variables wait for those who wait on
  /// them, and `std::thread` wants to be joined.
  void abandon(std::shared_ptr<Core> self) {
    if (!home_.here()) self_ = std::move(self);
  }

  [[nodiscard]] BatcherStats stats() const {
    home_.check(kName);
    const std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  [[nodiscard]] bool is_worker() const { return working_for == this; }

  void work() {
    working_for = this;
    Queue batch;
    std::vector<std::uint8_t> images;
    std::vector<float> logits;
    while (take(batch)) {
      const std::optional<Failure> failure = caught([&] {
        images.resize(batch.size() * kImageBytes);
        logits.resize(batch.size() * kClasses);
        std::uint8_t* to = images.data();
        for (const StatePtr& state : batch) {
          std::memcpy(to, state->image.data(), kImageBytes);
          to += kImageBytes;
        }
        model_(images, logits);
      });
      {
        const std::lock_guard lock(mutex_);
        ++stats_.batches;
        (failure ? stats_.failed : stats_.answered) += batch.size();
      }
      const float* row = logits.data();
      for (const StatePtr& state : batch) {
        Answer answer;
        if (!failure) {
          std::copy_n(row, kClasses, answer.logits.begin());
          answer.prediction = detail::predict(answer.logits);
          row += kClasses;
        }
        end(state, answer, failure);
      }
      batch.clear();
    }
  }

  /// Waits for a batch and takes it out of the queue; false when closed and nothing is left.
  bool take(Queue& batch) {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return closed_ || !queue_.empty(); });
      if (queue_.empty()) return false;
      if (closed_ || queue_.size() >= full_) break;
      // The oldest may have been taken or cancelled during a wait: look again after each.
      const Clock::time_point deadline = queue_.front()->arrived + options_.max_wait;
      if (Clock::now() >= deadline) break;
      work_.wait_until(lock, deadline);
    }
    unqueue(std::min(queue_.size(), options_.max_batch), batch);
    const bool more = !queue_.empty();
    lock.unlock();
    if (more) work_.notify_one();
    space_.notify_all();
    return true;
  }

  /// Moves the oldest `count` requests; under the lock.
  void unqueue(std::size_t count, Queue& to) {
    const auto end = std::next(queue_.begin(), static_cast<std::ptrdiff_t>(count));
    for (auto at = queue_.begin(); at != end; ++at) (*at)->queued = false;
    to.splice(to.end(), queue_, queue_.begin(), end);
  }

  static void end_cancelled(const StatePtr& state) {
    end(state, {}, Failure{ErrorCode::cancelled, "batcher: the request was cancelled"});
  }

  static void end(const StatePtr& state, const Answer& answer,
                  const std::optional<Failure>& failure) {
    {
      const std::lock_guard lock(state->mutex);
      state->done = true;
      state->answer = answer;
      state->failure = failure;
    }
    state->changed.notify_all();
    if (!state->callback) return;
    static_cast<void>(caught([&] { state->callback(Request(state)); }));
    state->callback = nullptr;  // it may hold this very request
  }

  /// The Core whose worker this thread is.
  static inline thread_local const Core* working_for = nullptr;

  static constexpr const char* kName = "this Batcher";

  const Home home_;
  const Function model_;
  const BatcherOptions options_;
  const std::size_t full_;  // requests that are not waited with: no more can come, or fit a batch

  mutable std::mutex mutex_;
  std::condition_variable work_;   // something to run, or closed
  std::condition_variable space_;  // room in the queue, or closed
  Queue queue_;                    // the oldest first
  BatcherStats stats_;
  bool closed_ = false;

  std::mutex join_mutex_;
  std::vector<std::thread> workers_;
  std::shared_ptr<Core> self_;
};

Batcher::Answer Batcher::Request::get() const {
  state_->home.check("the Batcher of this request");
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->done; });
  if (state_->failure) throw Error(state_->failure->code, state_->failure->message.data());
  return state_->answer;
}

bool Batcher::Request::wait_for(std::chrono::microseconds time) const {
  if (!state_->home.here()) return true;  // get() throws at once
  // The clock must not overflow, however long the caller is ready to wait, or is late.
  time = std::clamp<std::chrono::microseconds>(time, std::chrono::microseconds(0),
                                               std::chrono::hours(24 * 365));
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, time, [this] { return state_->done; });
}

bool Batcher::Request::cancel() const {
  const std::shared_ptr<Core> core = state_->core.lock();
  return core && core->cancel(state_);
}

Batcher::Batcher(Function model, const BatcherOptions& options) {
  check_options(options);
  if (!model) throw Error(ErrorCode::invalid_argument, "model: got an empty function");
  translated([&] {
    core_ = std::make_shared<Core>(std::move(model), options);
    core_->start();
  });
}

Batcher::~Batcher() {
  core_->close(Waiting::answer);
  core_->abandon(core_);
}

Batcher::Request Batcher::submit(std::span<const std::uint8_t> image, Callback done) {
  return translated([&] { return Request(core_->submit(image, std::move(done), true)); });
}

std::optional<Batcher::Request> Batcher::try_submit(std::span<const std::uint8_t> image,
                                                    Callback done) {
  return translated([&]() -> std::optional<Request> {
    auto state = core_->submit(image, std::move(done), false);
    if (!state) return std::nullopt;
    return Request(std::move(state));
  });
}

Prediction Batcher::classify(std::span<const std::uint8_t> image) {
  return submit(image).get().prediction;
}

void Batcher::close(Waiting waiting) { core_->close(waiting); }

BatcherStats Batcher::stats() const { return core_->stats(); }

}  // namespace mnistkit
