// What runs a loaded TorchScript module on one kind of device.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <span>

#include "mnistkit/types.hpp"

namespace mnistkit::detail {

/// Runs a module that takes uint8 (N, 1, 28, 28) and gives float32 (N, 10).
class Executor {
 public:
  Executor() = default;
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Runs `batch` images until libtorch has compiled for that size, and keeps what it learns. Not
  /// safe beside `run`.
  virtual void warm_up(std::int64_t batch) = 0;

  /// Writes `count * 10` logits. Safe from any number of threads.
  virtual void run(const std::uint8_t* images, std::int64_t count, float* logits) const = 0;
};

struct ExecutorOptions {
  Precision precision = Precision::fp32;
  std::int64_t max_batch = 1024;  ///< largest batch given to libtorch at once
  bool cuda_graphs = true;        ///< capture the batch sizes that are warmed up
};

/// Both take the bytes of a TorchScript file.
[[nodiscard]] std::unique_ptr<Executor> make_cpu_executor(std::span<const std::uint8_t> file,
                                                          const ExecutorOptions& options);
[[nodiscard]] std::unique_ptr<Executor> make_cuda_executor(std::span<const std::uint8_t> file,
                                                           c10::Device device,
                                                           const ExecutorOptions& options);

}  // namespace mnistkit::detail
