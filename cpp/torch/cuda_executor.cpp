// TorchScript on a GPU. Written against libtorch's device-independent interface alone, so that it
// compiles where there is no CUDA toolkit.
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "mnistkit/types.hpp"
#include "torch/executor.hpp"
#include "torch/graph.hpp"

namespace mnistkit::detail {
namespace {

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(std::span<const std::uint8_t> file, c10::Device device)
      : device_(device), graph_(file, device) {}

  void warm_up(std::int64_t batch) override {
    const std::vector<std::uint8_t> images(static_cast<std::size_t>(batch) * kImageBytes);
    std::vector<float> logits(static_cast<std::size_t>(batch) * kClasses);
    for (int i = 0; i < 3; ++i) run(images.data(), batch, logits.data());
  }

  void run(const std::uint8_t* images, std::int64_t count, float* logits) const override {
    const c10::InferenceMode inference;
    const c10::DeviceGuard guard(device_);
    const at::Tensor output = graph_(view_images(images, count).to(device_));
    // A copy into pageable memory waits for the GPU, so the logits are there on return.
    at::from_blob(logits, {count, std::int64_t{kClasses}}, at::kFloat).copy_(output);
  }

 private:
  c10::Device device_;
  Graph graph_;
};

}  // namespace

std::unique_ptr<Executor> make_cuda_executor(std::span<const std::uint8_t> file,
                                             c10::Device device) {
  return std::make_unique<CudaExecutor>(file, device);
}

}  // namespace mnistkit::detail
