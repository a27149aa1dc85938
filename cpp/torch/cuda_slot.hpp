// One CUDA stream with the buffers of one batch.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <map>
#include <memory>

#include "torch/cuda_graph.hpp"
#include "torch/graph.hpp"

namespace mnistkit::detail {

/// Copies a batch to the GPU, runs it and copies the logits back, all on a stream of its own and
/// through pinned memory, so that the caller may do something else meanwhile. Used by one thread at
/// a time.
class CudaSlot {
 public:
  /// Takes batches of up to `capacity` images. `graph` must be on `device`, and outlive this.
  CudaSlot(const Graph& graph, c10::Device device, std::int64_t capacity);
  /// Waits for what runs.
  ~CudaSlot();
  CudaSlot(const CudaSlot&) = delete;
  CudaSlot& operator=(const CudaSlot&) = delete;

  /// Runs `batch` images until libtorch has compiled for that size; with `record`, that size runs
  /// as a CUDA graph from then on, if its logits are those of a plain run.
  void warm_up(std::int64_t batch, bool record);

  /// Takes `count` images, at least 1, and returns when the GPU has been given all its work. The
  /// logits are in the caller's memory after `finish`, which must come before the next `start`.
  void start(const std::uint8_t* images, std::int64_t count, float* logits);
  /// Waits for what was started; does nothing if nothing was.
  void finish();
  /// Waits for the GPU and forgets what was started: the way out after an error.
  void abandon() noexcept;

 private:
  struct Recorded {
    std::unique_ptr<CudaGraph> graph;
    at::Tensor logits;  // where it writes them
  };

  /// The forward of the first `count` images in `device_images_`, on the current stream.
  [[nodiscard]] at::Tensor forward(std::int64_t count, const Recorded* recorded) const;
  [[nodiscard]] Recorded record(std::int64_t batch) const;

  const Graph& graph_;
  c10::Stream stream_;
  at::Tensor pinned_images_;
  at::Tensor pinned_logits_;
  at::Tensor device_images_;
  std::map<std::int64_t, Recorded> recorded_;  // by batch
  std::int64_t count_ = 0;                     // images that were started
  float* logits_ = nullptr;
};

}  // namespace mnistkit::detail
