#include "torch/device.hpp"

#include <torch/cuda.h>

#include <charconv>
#include <string>
#include <vector>

#include "mnistkit/runner.hpp"
#include "torch/errors.hpp"

namespace mnistkit {
namespace detail {
namespace {

std::size_t gpu_count() {
  return translated("looking for GPUs", [] { return torch::cuda::device_count(); });
}

}  // namespace

c10::Device parse_device(std::string_view name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  unsigned index = 0;
  bool known = name == "cuda";
  if (name.substr(0, 5) == "cuda:") {
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + 5, end, index);
    known = error == std::errc() && stop == end;
  }
  if (!known) {
    throw Error(ErrorCode::invalid_argument,
                "device: got '" + std::string(name) + "', wanted cpu, cuda or cuda:N");
  }
  const std::size_t gpus = gpu_count();
  if (index >= gpus) {
    throw Error(ErrorCode::unavailable,
                "device: got '" + std::string(name) + "', but libtorch " + runner_torch_version() +
                    " sees " + (gpus == 0 ? "no GPU" : std::to_string(gpus) + " GPU(s)") +
                    " here; use cpu, or check the driver with nvidia-smi");
  }
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

}  // namespace detail

std::vector<std::string> runner_devices() {
  std::vector<std::string> devices = {"cpu"};
  const std::size_t gpus = detail::gpu_count();
  for (std::size_t i = 0; i < gpus; ++i) devices.push_back("cuda:" + std::to_string(i));
  return devices;
}

}  // namespace mnistkit
