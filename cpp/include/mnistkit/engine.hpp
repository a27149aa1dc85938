// The engine as a C++ class: engine.h with owners and exceptions. Link mnistkit::engine alone.
#ifndef MNISTKIT_ENGINE_HPP
#define MNISTKIT_ENGINE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mnistkit/engine.h"
#include "mnistkit/error.hpp"

namespace mnistkit {

namespace detail {

// Throws what the status stands for, with the engine's own words.
inline void check_engine(mnistkit_engine_status status) {
  if (status == MNISTKIT_ENGINE_OK) return;
  ErrorCode code = ErrorCode::runtime;
  switch (status) {
    case MNISTKIT_ENGINE_INVALID_ARGUMENT:
      code = ErrorCode::invalid_argument;
      break;
    case MNISTKIT_ENGINE_NOT_FOUND:
      code = ErrorCode::not_found;
      break;
    case MNISTKIT_ENGINE_BAD_FILE:
      code = ErrorCode::bad_artifact;
      break;
    case MNISTKIT_ENGINE_NEWER_FILE:
      code = ErrorCode::newer_schema;
      break;
    case MNISTKIT_ENGINE_BAD_KERNELS:
    case MNISTKIT_ENGINE_UNAVAILABLE:
      code = ErrorCode::unavailable;
      break;
    case MNISTKIT_ENGINE_OUT_OF_MEMORY:
      code = ErrorCode::out_of_memory;
      break;
    case MNISTKIT_ENGINE_OK:
      break;
  }
  throw Error(code, mnistkit_engine_last_error());
}

}  // namespace detail

/// Threads for any number of engines; see `mnistkit_engine_pool_create`. Engines that share a pool
/// take turns on it. Not copied, not moved: share it with `std::shared_ptr`.
class EnginePool {
 public:
  /// `threads` with the one that calls; 0 takes one for each core. Throws `Error`: invalid_argument
  /// above MNISTKIT_ENGINE_MAX_THREADS, unavailable where they cannot be started.
  explicit EnginePool(std::size_t threads = 0) {
    if (threads == 0) threads = std::thread::hardware_concurrency();
    if (threads == 0) threads = 1;  // it is not known
    detail::check_engine(mnistkit_engine_pool_create(threads, &pool_));
  }
  ~EnginePool() { mnistkit_engine_pool_close(pool_); }
  EnginePool(const EnginePool&) = delete;
  EnginePool& operator=(const EnginePool&) = delete;

  [[nodiscard]] std::size_t threads() const noexcept { return mnistkit_engine_pool_threads(pool_); }
  /// For the C functions; it stays this object's.
  [[nodiscard]] mnistkit_engine_pool* handle() const noexcept { return pool_; }

 private:
  mnistkit_engine_pool* pool_ = nullptr;
};

struct EngineOptions {
  std::string kernels{};                     ///< a kernel set; "": the fastest, as engine.h says
  std::size_t threads = 1;                   ///< of a pool of this engine's own; 0: one a core
  std::shared_ptr<const EnginePool> pool{};  ///< a pool to use instead; `threads` is then not read
};

/// A net of a .mnk file. Any number of threads may call `logits` on one engine at once; those whose
/// batches are split wait for each other. Movable, not copyable. Every failure is an `Error`.
class Engine {
 public:
  /// Opens a .mnk file; `path` is UTF-8.
  explicit Engine(const std::string& path, EngineOptions options = {}) : Engine(options) {
    detail::check_engine(
        mnistkit_engine_open_file(path.c_str(), options.kernels.c_str(), &state_->engine));
  }

  /// Opens a .mnk file's bytes, which are copied.
  explicit Engine(std::span<const std::byte> file, EngineOptions options = {}) : Engine(options) {
    state_->file.resize(file.size() + kAlign);
    void* start = state_->file.data();
    std::size_t room = state_->file.size();
    std::align(kAlign, file.size(), start, room);
    if (!file.empty()) std::memcpy(start, file.data(), file.size());
    detail::check_engine(
        mnistkit_engine_open(start, file.size(), options.kernels.c_str(), &state_->engine));
  }

  /// n * 10 logits for n * 784 bytes, 0 = background, 255 = ink. n may be 0.
  [[nodiscard]] std::vector<float> logits(std::span<const std::uint8_t> images) const {
    std::vector<float> result(images.size() / MNISTKIT_ENGINE_IMAGE_BYTES *
                              MNISTKIT_ENGINE_CLASSES);
    logits(images, result);
    return result;
  }

  /// The same, into memory of the caller's own: n * 10 floats exactly.
  void logits(std::span<const std::uint8_t> images, std::span<float> result) const {
    State& state = open();
    const std::size_t n = images.size() / MNISTKIT_ENGINE_IMAGE_BYTES;
    if (images.size() % MNISTKIT_ENGINE_IMAGE_BYTES != 0) {
      throw Error(ErrorCode::invalid_argument, "images: got " + std::to_string(images.size()) +
                                                   " bytes, wanted a multiple of 784");
    }
    if (result.size() != n * MNISTKIT_ENGINE_CLASSES) {
      throw Error(ErrorCode::invalid_argument, "result: got " + std::to_string(result.size()) +
                                                   " floats, wanted " +
                                                   std::to_string(n * MNISTKIT_ENGINE_CLASSES));
    }
    const std::size_t wanted =
        mnistkit_engine_parallel_scratch_size(state.engine, n, state.threads());
    Scratch scratch = state.take(wanted);
    const auto status =
        state.pool ? mnistkit_engine_run_parallel(state.engine, state.pool->handle(), images.data(),
                                                  n, result.data(), scratch.memory.get(), wanted)
                   : mnistkit_engine_run(state.engine, images.data(), n, result.data(),
                                         scratch.memory.get(), wanted);
    state.give(std::move(scratch));
    detail::check_engine(status);
  }

  [[nodiscard]] std::string net() const { return mnistkit_engine_net(open().engine); }
  [[nodiscard]] std::string precision() const { return mnistkit_engine_precision(open().engine); }
  [[nodiscard]] std::string kernels() const { return mnistkit_engine_kernels(open().engine); }
  [[nodiscard]] std::size_t threads() const { return open().threads(); }
  /// For the C functions, a pool of the caller's own say; it stays this object's.
  [[nodiscard]] const mnistkit_engine* handle() const { return open().engine; }

 private:
  static constexpr std::size_t kAlign = 64;

  struct Scratch {
    std::unique_ptr<std::byte[]> memory;
    std::size_t size = 0;
  };

  // Scratches are kept from call to call: large ones cost as much as some images.
  struct State {
    mnistkit_engine* engine = nullptr;
    std::vector<std::byte> file;
    std::shared_ptr<const EnginePool> pool;
    std::mutex lock;
    std::vector<Scratch> idle;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { mnistkit_engine_close(engine); }

    std::size_t threads() const { return pool ? pool->threads() : 1; }

    Scratch take(std::size_t size) {
      Scratch found;
      {
        const std::unique_lock<std::mutex> hold = hold_idle();
        if (hold && !idle.empty()) {
          found = std::move(idle.back());
          idle.pop_back();
        }
      }
      if (found.size < size) {
        found.memory.reset(new (std::nothrow) std::byte[size]);
        if (!found.memory) throw Error(ErrorCode::out_of_memory, "out of memory");
        found.size = size;
      }
      return found;
    }

    void give(Scratch scratch) {
      const std::unique_lock<std::mutex> hold = hold_idle();
      if (hold) idle.push_back(std::move(scratch));
    }

    // The lock, or none where it is not to be had soon: a fork() may have come while another
    // thread held it, and then nobody gives it back in the child.
    std::unique_lock<std::mutex> hold_idle() {
      std::unique_lock<std::mutex> hold(lock, std::try_to_lock);
      for (int i = 0; !hold && i < 100; ++i) {
        std::this_thread::yield();
        hold.try_lock();
      }
      return hold;
    }
  };

  explicit Engine(EngineOptions& options) : state_(std::make_unique<State>()) {
    if (options.pool) {
      state_->pool = std::move(options.pool);
    } else if (options.threads != 1) {
      state_->pool = std::make_shared<const EnginePool>(options.threads);
    }
  }

  State& open() const {
    if (!state_) throw Error(ErrorCode::closed, "engine: it was moved from");
    return *state_;
  }

  std::unique_ptr<State> state_;
};

}  // namespace mnistkit

#endif  // MNISTKIT_ENGINE_HPP
