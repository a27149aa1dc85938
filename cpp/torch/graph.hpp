// One loaded TorchScript module, called with as little around it as libtorch allows.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <span>

namespace mnistkit::detail {

class Graph {
 public:
  /// Loads the bytes of a TorchScript file with everything in it on `device`.
  Graph(std::span<const std::uint8_t> file, c10::Device device);

  /// Rewrites the graph for the CPU: oneDNN layouts, weights prepacked. This cannot be saved in a
  /// file, so it is done at load.
  void optimize_for_cpu();

  /// Lays the weights of convolutions out with the channels innermost (NHWC); cuDNN then keeps that
  /// layout from layer to layer. Before the first call.
  void use_channels_last();

  /// From uint8 (N, 1, 28, 28) to contiguous float32 (N, 10); throws `Error(bad_artifact)` if the
  /// module gives anything else. Needs an InferenceMode guard around it.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& images) const;

 private:
  torch::jit::Module module_;
  torch::jit::Function* forward_;
};

/// The caller's bytes as a tensor of shape (count, 1, 28, 28), without a copy.
[[nodiscard]] at::Tensor view_images(const std::uint8_t* images, std::int64_t count);

}  // namespace mnistkit::detail
