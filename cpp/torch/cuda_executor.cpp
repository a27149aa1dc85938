// TorchScript on a GPU: a few streams, each with buffers of its own, lent to the calls.
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "mnistkit/types.hpp"
#include "torch/cuda_slot.hpp"
#include "torch/executor.hpp"
#include "torch/graph.hpp"

namespace mnistkit::detail {
namespace {

/// Batches that may be on the GPU at once, whether they come from as many threads or are two at a
/// time of one long call.
constexpr std::size_t kSlots = 4;

Graph load_on_gpu(std::span<const std::uint8_t> file, c10::Device device, Precision precision) {
  Graph graph(file, device);
  // Tensor cores want half precision with the channels innermost.
  if (precision == Precision::fp16) graph.use_channels_last();
  return graph;
}

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(std::span<const std::uint8_t> file, c10::Device device,
               const ExecutorOptions& options)
      : options_(options), graph_(load_on_gpu(file, device, options.precision)) {
    for (auto& slot : slots_) {
      slot = std::make_unique<CudaSlot>(graph_, device, options.max_batch);
      free_.push_back(slot.get());
    }
  }

  void warm_up(std::int64_t batch) override {
    for (const auto& slot : slots_) slot->warm_up(batch, options_.cuda_graphs);
  }

  void run(const std::uint8_t* images, std::int64_t count, float* logits) const override {
    const Loan first(*this, true);
    // A second stream for a call of several batches: one is copied while the other is computed.
    const Loan second(*this, false, count > options_.max_batch);
    const std::array<CudaSlot*, 2> slots = {first.slot(),
                                            second.slot() ? second.slot() : first.slot()};
    std::size_t turn = 0;
    for (std::int64_t at = 0; at < count; at += options_.max_batch) {
      CudaSlot& slot = *slots[turn++ % 2];
      slot.finish();
      slot.start(images + static_cast<std::size_t>(at) * kImageBytes,
                 std::min(options_.max_batch, count - at),
                 logits + static_cast<std::size_t>(at) * kClasses);
    }
    for (CudaSlot* slot : slots) slot->finish();
  }

 private:
  /// A slot for the time of a call: waits for one, or takes one if there is one.
  class Loan {
   public:
    Loan(const CudaExecutor& owner, bool wait, bool wanted = true) : owner_(owner) {
      if (!wanted) return;
      std::unique_lock lock(owner_.mutex_);
      if (wait) owner_.returned_.wait(lock, [&] { return !owner_.free_.empty(); });
      if (owner_.free_.empty()) return;
      slot_ = owner_.free_.back();
      owner_.free_.pop_back();
    }
    ~Loan() {
      if (slot_ == nullptr) return;
      slot_->abandon();  // after an error something may still run
      {
        const std::lock_guard lock(owner_.mutex_);
        owner_.free_.push_back(slot_);  // it never holds more than it was made with
      }
      owner_.returned_.notify_one();
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

    [[nodiscard]] CudaSlot* slot() const { return slot_; }

   private:
    const CudaExecutor& owner_;
    CudaSlot* slot_ = nullptr;
  };

  ExecutorOptions options_;
  Graph graph_;
  std::array<std::unique_ptr<CudaSlot>, kSlots> slots_;
  mutable std::mutex mutex_;
  mutable std::condition_variable returned_;
  mutable std::vector<CudaSlot*> free_;
};

}  // namespace

std::unique_ptr<Executor> make_cuda_executor(std::span<const std::uint8_t> file, c10::Device device,
                                             const ExecutorOptions& options) {
  return std::make_unique<CudaExecutor>(file, device, options);
}

}  // namespace mnistkit::detail
