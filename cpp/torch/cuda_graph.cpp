// MNISTKIT_CUDA_HEADERS says that CMake found the headers of the CUDA runtime and a libtorch_cuda.
// libtorch 2.15 has at::accelerator::Graph, which needs no such headers, but no CUDA behind it.
#include "torch/cuda_graph.hpp"

#ifdef MNISTKIT_CUDA_HEADERS

#include <ATen/cuda/CUDAGraph.h>

namespace mnistkit::detail {
namespace {

class RecordedGraph final : public CudaGraph {
 public:
  void record(const std::function<void()>& body) {
    // Other threads may allocate GPU memory meanwhile; only this one must not.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      body();
    } catch (...) {
      end_quietly();
      throw;
    }
    graph_.capture_end();
  }
  void replay() override { graph_.replay(); }

 private:
  void end_quietly() noexcept {
    try {
      graph_.capture_end();
    } catch (...) {  // the error of the body is the one to tell
    }
  }

  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<CudaGraph> record_cuda_graph(const std::function<void()>& body) {
  try {
    auto graph = std::make_unique<RecordedGraph>();
    graph->record(body);
    return graph;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error&) {
    return nullptr;
  }
}

}  // namespace mnistkit::detail

#else

namespace mnistkit::detail {

std::unique_ptr<CudaGraph> record_cuda_graph(const std::function<void()>&) { return nullptr; }

}  // namespace mnistkit::detail

#endif
