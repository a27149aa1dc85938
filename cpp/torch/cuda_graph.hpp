// A CUDA graph: the kernels of one forward, recorded once and launched together.
#pragma once

#include <functional>
#include <memory>

namespace mnistkit::detail {

class CudaGraph {
 public:
  virtual ~CudaGraph() = default;
  /// Launches what was recorded, on the current stream.
  virtual void replay() = 0;
};

/// Records what `body` launches on the current stream, which must not be the default stream. Null
/// where the runner was compiled without the CUDA headers, and where CUDA refuses to record; the
/// stream can be used as before then.
[[nodiscard]] std::unique_ptr<CudaGraph> record_cuda_graph(const std::function<void()>& body);

}  // namespace mnistkit::detail
