// mnistkit::Runner: an exported TorchScript digit classifier on libtorch.
#ifndef MNISTKIT_RUNNER_HPP
#define MNISTKIT_RUNNER_HPP

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mnistkit/error.hpp"
#include "mnistkit/export.h"
#include "mnistkit/types.hpp"

namespace mnistkit {

struct RunnerOptions {
  /// "cpu", "cuda" (the first GPU) or "cuda:N".
  std::string device = "cpu";
  Precision precision = Precision::fp32;
  /// CPU threads for one call; 0 leaves libtorch's setting alone. The setting belongs to the
  /// process: the last Runner that was opened with a number wins for all of them.
  int threads = 0;
  /// Batch sizes to run before the constructor returns, so that no later call pays for
  /// compilation. On a CPU the faster of two graphs is measured and kept for each of them.
  std::vector<std::int64_t> warmup = {1};
  /// Largest batch given to libtorch at once; longer calls are cut. It bounds the memory.
  std::int64_t max_batch = 1024;
  /// Run the golden digits on load, and throw `Error(check_failed)` if they do not come out right.
  bool verify = true;
};

/// A loaded model. The constructor reads an artifact folder, checks the schema, the size and the
/// SHA-256 of what it reads, loads it, warms it up and checks it with the golden digits.
///
/// Images are `N * 784` contiguous bytes, 0 = background, 255 = ink; scaling is inside the model.
/// Logits are `N * 10` floats. N may be 0: nothing is done then.
///
/// Threads: `logits`, `classify`, `self_check` and the getters may be called from any number of
/// threads on one Runner at the same time. Construction is safe beside them. Moving, assigning
/// and destroying need, as with any object, that nothing else uses that Runner.
///
/// Errors: every function that is not `noexcept` throws `Error` and nothing else; after an error
/// from a call the Runner is as it was before it.
class MNISTKIT_API Runner {
 public:
  explicit Runner(const std::filesystem::path& artifact, const RunnerOptions& options = {});
  ~Runner();
  Runner(Runner&& other) noexcept;
  Runner& operator=(Runner&& other) noexcept;
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Writes `images.size() / 784 * 10` logits; `logits` must have exactly that size.
  void logits(std::span<const std::uint8_t> images, std::span<float> logits) const;
  [[nodiscard]] std::vector<float> logits(std::span<const std::uint8_t> images) const;

  /// Writes one prediction an image; `predictions` must have exactly that size.
  void classify(std::span<const std::uint8_t> images, std::span<Prediction> predictions) const;
  [[nodiscard]] std::vector<Prediction> classify(std::span<const std::uint8_t> images) const;

  /// Runs the artifact's golden digits and compares with the reference; see `SelfCheck::passed`.
  [[nodiscard]] SelfCheck self_check() const;

  /// The options as they were resolved: "cuda" has become "cuda:0".
  [[nodiscard]] const RunnerOptions& options() const;
  /// The net's name, as the artifact's manifest gives it.
  [[nodiscard]] const std::string& net() const;
  /// Whether this Runner can be used: false once it was moved from.
  [[nodiscard]] bool valid() const noexcept { return impl_ != nullptr; }

 private:
  struct Impl;
  [[nodiscard]] Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

/// What `RunnerOptions::device` can name here and now: "cpu", then "cuda:0" and so on.
[[nodiscard]] MNISTKIT_API std::vector<std::string> runner_devices();

/// The libtorch that the runner was compiled against, as in "2.15.0".
[[nodiscard]] MNISTKIT_API const char* runner_torch_version() noexcept;

}  // namespace mnistkit

#endif  // MNISTKIT_RUNNER_HPP
