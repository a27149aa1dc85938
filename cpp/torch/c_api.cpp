// The runner's part of the C API.
#include "core/c_api.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "core/process.hpp"
#include "mnistkit/runner.hpp"

// The functions themselves are defined here, for programs that were compiled before the macros.
#undef mnistkit_runner_options_init
#undef mnistkit_runner_self_check

namespace {

using mnistkit::Error;
using mnistkit::ErrorCode;
using mnistkit::Runner;
using mnistkit::detail::guarded;

// mnistkit_runner_classify writes straight into the caller's array.
static_assert(sizeof(mnistkit_prediction) == sizeof(mnistkit::Prediction));
static_assert(offsetof(mnistkit_prediction, label) == offsetof(mnistkit::Prediction, label));
static_assert(offsetof(mnistkit_prediction, probability) ==
              offsetof(mnistkit::Prediction, probability));

/// The open runners. A handle is a number that is given once, so a stale one is never mistaken
/// for a newer; a call holds its runner, so a close beside it waits for nothing and frees nothing
/// that is in use.
class Handles {
 public:
  /// In a child of fork(): `parent` may be locked for ever, and its runners are of no use.
  explicit Handles(const Handles* parent = nullptr)
      : parent_(parent), first_(parent ? parent->last_.load() : 0), last_(first_) {}

  [[nodiscard]] const mnistkit::detail::Home& home() const { return home_; }

  mnistkit_runner* add(std::shared_ptr<const Runner> runner) {
    const std::unique_lock lock(mutex_);
    const std::uintptr_t id = last_.fetch_add(1) + 1;
    runners_.emplace(id, std::move(runner));
    return reinterpret_cast<mnistkit_runner*>(id);
  }

  [[nodiscard]] std::shared_ptr<const Runner> get(const mnistkit_runner* handle) const {
    check_home(handle);
    const std::shared_lock lock(mutex_);
    const auto found = runners_.find(reinterpret_cast<std::uintptr_t>(handle));
    if (found == runners_.end()) refuse();
    return found->second;
  }

  /// Gives nothing for a handle of the process that this one was forked from.
  [[nodiscard]] std::shared_ptr<const Runner> remove(const mnistkit_runner* handle) {
    if (is_inherited(handle)) return nullptr;
    const std::unique_lock lock(mutex_);
    auto node = runners_.extract(reinterpret_cast<std::uintptr_t>(handle));
    if (node.empty()) refuse();
    return std::move(node.mapped());
  }

 private:
  [[nodiscard]] bool is_inherited(const mnistkit_runner* handle) const {
    const auto id = reinterpret_cast<std::uintptr_t>(handle);
    return id != 0 && id <= first_;
  }

  void check_home(const mnistkit_runner* handle) const {
    if (is_inherited(handle)) parent_->home_.check("this runner");
  }

  [[noreturn]] static void refuse() {
    throw Error(ErrorCode::closed, "runner: this handle is not open; it was closed, or never was");
  }

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::uintptr_t, std::shared_ptr<const Runner>> runners_;
  const mnistkit::detail::Home home_;
  const Handles* parent_;
  const std::uintptr_t first_;  // handles up to this one are the parent's
  std::atomic<std::uintptr_t> last_;
};

Handles& handles() {
  // Never destroyed: a thread may still call while the process ends.
  static std::atomic<Handles*> instance = new Handles;
  Handles* found = instance.load();
  if (!found->home().here()) {
    auto made = std::make_unique<Handles>(found);
    if (instance.compare_exchange_strong(found, made.get())) found = made.release();
  }
  return *found;
}

template <class T>
T* not_null(T* pointer, const char* what) {
  if (pointer == nullptr) {
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": got a null pointer");
  }
  return pointer;
}

// Structs as they were in 0.1.0, whatever they are now: no field was taken out or moved.
constexpr std::size_t kFirstOptions = offsetof(mnistkit_runner_options, reserved) + sizeof(int32_t);
constexpr std::size_t kFirstReport = offsetof(mnistkit_self_check, passed) + sizeof(int32_t);
// A struct_size that is no field yet, or none at all, is not to be believed.
constexpr std::size_t kLeastOptions = offsetof(mnistkit_runner_options, threads);
constexpr std::size_t kMostOptions = 4096;

/// Writes `size` bytes of a caller's struct; what is beyond the struct that we know is 0.
template <class Struct>
void write_sized(Struct* to, std::size_t size, const Struct& from) {
  auto* const bytes = reinterpret_cast<unsigned char*>(to);
  const std::size_t known = std::min(size, sizeof from);
  std::memcpy(bytes, &from, known);
  std::memset(bytes + known, 0, size - known);
}

mnistkit_runner_options default_options() {
  mnistkit_runner_options options = {};
  options.device = "cpu";
  options.precision = "fp32";
  options.verify = 1;
  options.cuda_graphs = 1;
  return options;
}

/// A caller's options as the struct that we know: fields that it lacks have their defaults, and
/// what is beyond ours must be 0.
mnistkit_runner_options read_options(const mnistkit_runner_options& from) {
  const std::size_t size = from.struct_size;
  if (size < kLeastOptions || size > kMostOptions || size % alignof(mnistkit_runner_options) != 0) {
    throw Error(ErrorCode::invalid_argument, "options: struct_size is " + std::to_string(size) +
                                                 ", here it is " +
                                                 std::to_string(sizeof(mnistkit_runner_options)) +
                                                 "; call mnistkit_runner_options_init first");
  }
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&from);
  const auto* const end = bytes + size;
  const auto* const beyond = bytes + std::min(size, sizeof from);
  const auto* const set = std::find_if(beyond, end, [](unsigned char b) { return b != 0; });
  if (set != end || (size >= kFirstOptions && from.reserved != 0)) {
    const std::size_t where = set != end ? static_cast<std::size_t>(set - bytes)
                                         : offsetof(mnistkit_runner_options, reserved);
    throw Error(ErrorCode::invalid_argument,
                "options: byte " + std::to_string(where) + " of " + std::to_string(size) +
                    " is set, and mnistkit " MNISTKIT_VERSION_STRING
                    " has no such option; take a newer library, or leave that option at 0");
  }
  mnistkit_runner_options known = default_options();
  std::memcpy(static_cast<void*>(&known), bytes, std::min(size, sizeof known));
  return known;
}

mnistkit::RunnerOptions to_options(const mnistkit_runner_options& given) {
  const mnistkit_runner_options from = read_options(given);
  mnistkit::RunnerOptions options;
  if (from.device != nullptr) options.device = from.device;
  if (from.precision != nullptr) options.precision = mnistkit::parse_precision(from.precision);
  options.threads = from.threads;
  options.verify = from.verify != 0;
  if (from.warmup != nullptr) options.warmup.assign(from.warmup, from.warmup + from.warmup_count);
  options.cuda_graphs = from.cuda_graphs != 0;
  if (from.max_batch != 0) options.max_batch = from.max_batch;
  return options;
}

}  // namespace

void mnistkit_runner_options_init_sized(mnistkit_runner_options* options, size_t struct_size) {
  if (options == nullptr) return;
  mnistkit_runner_options defaults = default_options();
  defaults.struct_size = struct_size;
  write_sized(options, struct_size, defaults);
}

void mnistkit_runner_options_init(mnistkit_runner_options* options) {
  mnistkit_runner_options_init_sized(options, kFirstOptions);
}

mnistkit_status mnistkit_runner_open(const char* path, const mnistkit_runner_options* options,
                                     mnistkit_runner** runner) {
  return guarded([&] {
    *not_null(runner, "runner") = nullptr;
    const std::filesystem::path folder =
        std::u8string_view(reinterpret_cast<const char8_t*>(not_null(path, "path")));
    const auto chosen = options == nullptr ? mnistkit::RunnerOptions{} : to_options(*options);
    *runner = handles().add(std::make_shared<const Runner>(folder, chosen));
  });
}

mnistkit_status mnistkit_runner_logits(mnistkit_runner* runner, const uint8_t* images,
                                       size_t image_bytes, float* logits, size_t logit_count) {
  return guarded(
      [&] { handles().get(runner)->logits({images, image_bytes}, {logits, logit_count}); });
}

mnistkit_status mnistkit_runner_classify(mnistkit_runner* runner, const uint8_t* images,
                                         size_t image_bytes, mnistkit_prediction* predictions,
                                         size_t prediction_count) {
  return guarded([&] {
    auto* const out = reinterpret_cast<mnistkit::Prediction*>(predictions);
    handles().get(runner)->classify({images, image_bytes}, {out, prediction_count});
  });
}

mnistkit_status mnistkit_runner_self_check_sized(mnistkit_runner* runner,
                                                 mnistkit_self_check* report, size_t report_size) {
  return guarded([&] {
    not_null(report, "report");
    const mnistkit::SelfCheck check = handles().get(runner)->self_check();
    write_sized(report, report_size,
                {check.total, check.agree, check.correct, check.max_abs_diff, check.mean_abs_diff,
                 check.tolerance, check.passed() ? 1 : 0});
    if (!check.passed()) {
      throw Error(ErrorCode::check_failed, "self-check failed: " + std::to_string(check.agree) +
                                               " of " + std::to_string(check.total) +
                                               " golden digits agree, largest |difference| " +
                                               std::to_string(check.max_abs_diff));
    }
  });
}

mnistkit_status mnistkit_runner_self_check(mnistkit_runner* runner, mnistkit_self_check* report) {
  return mnistkit_runner_self_check_sized(runner, report, kFirstReport);
}

mnistkit_status mnistkit_runner_int8_edition(mnistkit_runner* runner, int32_t* edition) {
  return guarded([&] { *not_null(edition, "edition") = handles().get(runner)->int8_edition(); });
}

mnistkit_status mnistkit_runner_close(mnistkit_runner* runner) {
  return guarded([&] {
    // The model itself is destroyed here, outside the lock.
    if (runner != nullptr) static_cast<void>(handles().remove(runner));
  });
}

size_t mnistkit_runner_device_count(void) {
  size_t count = 1;
  guarded([&] { count = mnistkit::runner_devices().size(); });
  return count;
}

mnistkit_status mnistkit_runner_device_name(size_t index, char* name, size_t name_size) {
  return guarded([&] {
    not_null(name, "name");
    const std::vector<std::string> devices = mnistkit::runner_devices();
    if (index >= devices.size()) {
      throw Error(ErrorCode::invalid_argument, "device index: got " + std::to_string(index) +
                                                   ", there are " + std::to_string(devices.size()) +
                                                   " devices");
    }
    if (devices[index].size() + 1 > name_size) {
      throw Error(ErrorCode::invalid_argument, "name: got room for " + std::to_string(name_size) +
                                                   " bytes, wanted " +
                                                   std::to_string(devices[index].size() + 1));
    }
    std::memcpy(name, devices[index].c_str(), devices[index].size() + 1);
  });
}

const char* mnistkit_runner_torch_version(void) { return mnistkit::runner_torch_version(); }
