#include "torch/graph.hpp"

#include <ATen/ops/from_blob.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/graph_iterator.h>
#include <torch/csrc/jit/serialization/import.h>

#include <istream>
#include <streambuf>

#include "mnistkit/error.hpp"
#include "mnistkit/types.hpp"

namespace mnistkit::detail {
namespace {

/// A seekable stream over bytes that it does not own.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(std::span<const std::uint8_t> bytes) {
    char* begin = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));
    setg(begin, begin, begin + bytes.size());
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    const off_type base = from == std::ios_base::beg   ? 0
                          : from == std::ios_base::cur ? gptr() - eback()
                                                       : egptr() - eback();
    const off_type target = base + offset;
    if (target < 0 || target > egptr() - eback()) return pos_type(off_type(-1));
    setg(eback(), eback() + target, egptr());
    return pos_type(target);
  }

  pos_type seekpos(pos_type position, std::ios_base::openmode mode) override {
    return seekoff(off_type(position), std::ios_base::beg, mode);
  }
};

torch::jit::Module load(std::span<const std::uint8_t> file, c10::Device device) {
  try {
    MemoryBuffer buffer(file);
    std::istream stream(&buffer);
    torch::jit::Module module = torch::jit::load(stream, device);
    module.eval();
    return module;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::bad_artifact,
                std::string("not a TorchScript file that this libtorch can load: ") +
                    error.what_without_backtrace());
  }
}

torch::jit::Function* find_forward(const torch::jit::Module& module) {
  const auto method = module.find_method("forward");
  if (!method || method->num_inputs() != 2) {  // self and the images
    throw Error(ErrorCode::bad_artifact, "the TorchScript module has no forward(images)");
  }
  return &method->function();
}

/// In a frozen module the weights are constants of the graph.
void lay_out_channels_last(std::shared_ptr<torch::jit::Graph> graph) {
  torch::jit::DepthFirstGraphNodeIterator nodes(graph);
  while (torch::jit::Node* node = nodes.next()) {
    constexpr auto kValue = torch::jit::attr::value;
    if (node->kind() != torch::jit::prim::Constant || !node->hasAttribute(kValue) ||
        node->kindOf(kValue) != torch::jit::AttributeKind::t || node->t(kValue).dim() != 4) {
      continue;
    }
    node->t_(kValue, node->t(kValue).contiguous(at::MemoryFormat::ChannelsLast));
  }
}

[[noreturn]] void refuse_output(const std::string& got) {
  throw Error(ErrorCode::bad_artifact,
              "the TorchScript module gives " + got + ", wanted a float32 tensor (N, 10)");
}

}  // namespace

Graph::Graph(std::span<const std::uint8_t> file, c10::Device device)
    : module_(load(file, device)), forward_(find_forward(module_)) {}

void Graph::optimize_for_cpu() {
  module_ = torch::jit::optimize_for_inference(module_);
  forward_ = find_forward(module_);
}

void Graph::use_channels_last() { lay_out_channels_last(module_.get_method("forward").graph()); }

at::Tensor Graph::operator()(const at::Tensor& images) const {
  // Calling the function itself skips the look-up by name and the argument checks of
  // Module::forward.
  torch::jit::Stack stack;
  stack.reserve(2);
  stack.emplace_back(module_._ivalue());
  stack.emplace_back(images);
  forward_->run(stack);
  if (stack.empty() || !stack.back().isTensor()) refuse_output("no tensor");
  at::Tensor logits = std::move(stack.back()).toTensor();
  if (logits.scalar_type() != at::kFloat || logits.dim() != 2 || logits.size(0) != images.size(0) ||
      logits.size(1) != std::int64_t{kClasses}) {
    refuse_output(c10::str(logits.scalar_type(), " ", logits.sizes()));
  }
  return logits.contiguous();
}

at::Tensor view_images(const std::uint8_t* images, std::int64_t count) {
  constexpr std::int64_t kSide = kImageSide;
  // from_blob wants a pointer to what may be written; the module only reads.
  return at::from_blob(const_cast<std::uint8_t*>(images), {count, 1, kSide, kSide}, at::kByte);
}

}  // namespace mnistkit::detail
