#include "mnistkit/runner.hpp"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "core/artifact.hpp"
#include "core/classify.hpp"
#include "core/golden.hpp"
#include "core/process.hpp"
#include "torch/device.hpp"
#include "torch/errors.hpp"
#include "torch/executor.hpp"

namespace mnistkit {
namespace {

/// Far above any use, and low enough that no size computed from it overflows.
constexpr std::int64_t kMaxBatch = std::int64_t{1} << 20;

/// In images: what a thread's caches hold of the activations, and what fills a GPU.
constexpr std::int64_t kCpuBatchPerThread = 64;
constexpr std::int64_t kGpuBatch = 1024;

/// libtorch scales int8 sums in float32 in its own order: a value beside a tie may become the other
/// integer, on few images. A GPU's bounds are estimates.
detail::Tolerance tolerance_of(Precision precision, c10::Device device) {
  if (precision == Precision::int8) return {.most = 1.0F, .typical = 1e-3F, .rare = 0.5F};
  if (precision == Precision::fp16) return {.most = 0.1F};
  return {.most = device.is_cpu() ? 2e-4F : 1e-3F};
}

void check_options(const RunnerOptions& options, c10::Device device) {
  const auto check_batch = [](const char* what, std::int64_t batch) {
    if (batch >= 1 && batch <= kMaxBatch) return;
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": got " + std::to_string(batch) +
                                                 ", wanted 1 to " + std::to_string(kMaxBatch));
  };
  for (const std::int64_t batch : options.warmup) check_batch("warmup", batch);
  if (options.max_batch != 0) check_batch("max_batch", options.max_batch);
  if (options.threads < 0) {
    throw Error(ErrorCode::invalid_argument,
                "threads: got " + std::to_string(options.threads) + ", wanted 0 (leave) or more");
  }
  if (options.precision == Precision::fp16 && device.is_cpu()) {
    throw Error(ErrorCode::unavailable, "precision fp16 needs a GPU; use device cuda, or fp32");
  }
  if (options.precision == Precision::int8 && !device.is_cpu()) {
    throw Error(ErrorCode::unavailable,
                "precision int8 needs the CPU (libtorch has no int8 kernels for a GPU); use "
                "device cpu, or fp16");
  }
}

/// Sets libtorch's number of threads. A process that was forked after libtorch had run has its
/// OpenMP pool without the threads: waiting for them would never end, so it stays with one.
void set_threads(int threads) {
  static std::atomic<long> first_process = 0;
  const long here = detail::Home::current();
  long first = 0;
  if (!first_process.compare_exchange_strong(first, here) && first != here) {
    if (threads > 1) {
      throw Error(ErrorCode::invalid_argument,
                  "threads: got " + std::to_string(threads) + ", and this process " +
                      std::to_string(here) + " was forked after process " + std::to_string(first) +
                      " had opened a Runner, whose OpenMP threads are not here: ask for 0 or 1, or "
                      "fork before the first Runner is opened");
    }
    threads = 1;
  }
  if (threads > 0) at::set_num_threads(threads);
}

}  // namespace

struct Runner::Impl {
  Impl(const std::filesystem::path& folder, const RunnerOptions& wanted)
      : options(wanted), artifact(folder) {
    const c10::Device device = detail::parse_device(options.device);
    options.device = device.str();
    check_options(options, device);

    net = artifact.net();
    warning = artifact.warning(options.precision);
    if (options.precision == Precision::int8) edition = artifact.int8_edition();
    const detail::ArtifactFile& entry = artifact.find("torchscript", options.precision);
    const std::vector<std::uint8_t> file = artifact.read(entry);
    if (options.verify) golden = artifact.golden(options.precision);

    set_threads(options.threads);
    if (options.max_batch == 0) {
      options.max_batch = device.is_cpu() ? kCpuBatchPerThread * at::get_num_threads() : kGpuBatch;
    }
    try {
      const detail::ExecutorOptions how = {options.precision, options.max_batch,
                                           options.cuda_graphs};
      executor = device.is_cpu() ? detail::make_cpu_executor(file, how)
                                 : detail::make_cuda_executor(file, device, how);
      for (const std::int64_t batch : options.warmup) {
        executor->warm_up(std::min(batch, options.max_batch));
      }
    } catch (const Error& error) {
      throw Error(error.code(), (folder / entry.name).string() + ": " + error.what());
    }
    if (golden) verify(folder / entry.name);
  }
  ~Impl() {
    // A driver and its threads are not to be called in a child of fork(): the memory stays.
    if (!home.here()) static_cast<void>(executor.release());
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void run(std::span<const std::uint8_t> images, std::span<float> logits) const {
    home.check("this Runner");
    const std::size_t count = detail::count_images(images);
    detail::check_output(logits.data(), logits.size(), count * kClasses, "logits");
    if (count > 0) executor->run(images.data(), static_cast<std::int64_t>(count), logits.data());
  }

  [[nodiscard]] SelfCheck self_check() const {
    const auto digits = golden ? golden : artifact.golden(options.precision);
    if (!digits) throw Error(ErrorCode::unavailable, "self-check: " + warning);
    std::vector<float> logits(digits->count() * kClasses);
    run(digits->images, logits);
    return detail::compare_golden(
        *digits, logits, tolerance_of(options.precision, detail::parse_device(options.device)));
  }

  void verify(const std::filesystem::path& path) const {
    const SelfCheck check = self_check();
    if (check.passed()) return;
    throw Error(ErrorCode::check_failed,
                path.string() + ": self-check failed: " + std::to_string(check.agree) + " of " +
                    std::to_string(check.total) + " golden digits agree, largest |difference| " +
                    std::to_string(check.max_abs_diff) + ", wanted at most " +
                    std::to_string(check.tolerance) + ", on " + std::to_string(check.unusual) +
                    " digits more than usual" + (warning.empty() ? "" : "; " + warning));
  }

  detail::Home home;
  RunnerOptions options;
  detail::Artifact artifact;
  std::string net, warning;
  int edition = 0;  // of the int8 definition
  std::optional<detail::Golden> golden;
  std::unique_ptr<detail::Executor> executor;
};

Runner::Runner(const std::filesystem::path& artifact, const RunnerOptions& options)
    : impl_(detail::translated("opening an artifact",
                               [&] { return std::make_unique<Impl>(artifact, options); })) {}

Runner::~Runner() = default;
Runner::Runner(Runner&& other) noexcept = default;
Runner& Runner::operator=(Runner&& other) noexcept = default;

Runner::Impl& Runner::impl() const {
  if (!impl_) throw Error(ErrorCode::closed, "this Runner was moved from; it holds no model");
  return *impl_;
}

void Runner::logits(std::span<const std::uint8_t> images, std::span<float> logits) const {
  detail::translated("running the model", [&] { impl().run(images, logits); });
}

std::vector<float> Runner::logits(std::span<const std::uint8_t> images) const {
  return detail::translated("running the model", [&] {
    std::vector<float> logits(detail::count_images(images) * kClasses);
    impl().run(images, logits);
    return logits;
  });
}

void Runner::classify(std::span<const std::uint8_t> images,
                      std::span<Prediction> predictions) const {
  detail::translated("running the model", [&] {
    const std::size_t count = detail::count_images(images);
    detail::check_output(predictions.data(), predictions.size(), count, "predictions");
    // Chunk by chunk, so that the scratch space stays small and is kept for the next call.
    thread_local std::vector<float> logits;
    const auto step = static_cast<std::size_t>(impl().options.max_batch);
    for (std::size_t at = 0; at < count; at += step) {
      const std::size_t batch = std::min(step, count - at);
      logits.resize(batch * kClasses);
      impl().run(images.subspan(at * kImageBytes, batch * kImageBytes), logits);
      for (std::size_t i = 0; i < batch; ++i) {
        const auto row = std::span<const float>(logits).subspan(i * kClasses);
        predictions[at + i] = detail::predict(row.first<kClasses>());
      }
    }
  });
}

std::vector<Prediction> Runner::classify(std::span<const std::uint8_t> images) const {
  return detail::translated("running the model", [&] {
    std::vector<Prediction> predictions(detail::count_images(images));
    classify(images, predictions);
    return predictions;
  });
}

SelfCheck Runner::self_check() const {
  return detail::translated("running the golden digits", [&] { return impl().self_check(); });
}

const RunnerOptions& Runner::options() const { return impl().options; }

const std::string& Runner::net() const { return impl().net; }

int Runner::int8_edition() const { return impl().edition; }

const std::string& Runner::warning() const { return impl().warning; }

const char* runner_torch_version() noexcept { return TORCH_VERSION; }

}  // namespace mnistkit
