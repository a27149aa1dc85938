// Every allocation that mnistkit makes in a call fails once, in turn: the C API answers with a
// status, and the next call works. The failing operator new is this program's own, and serves the
// libraries too. Those that libtorch makes are let be: it ends the process for some of them.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "check.hpp"
#include "golden_digits.hpp"
#include "mnistkit/mnistkit.h"

namespace {

/// Allocations of mnistkit in this thread until one fails; below 0, none does.
thread_local long allocations_left = -1;

/// Where the runner's library lies in memory.
std::uintptr_t ours_begin = UINTPTR_MAX;
std::uintptr_t ours_end = 0;

void find_ours() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("libmnistkit_runner") == line.npos) continue;
    char* rest = nullptr;
    ours_begin = std::min(ours_begin, std::strtoul(line.c_str(), &rest, 16));
    ours_end = std::max(ours_end, std::strtoul(rest + 1, nullptr, 16));
  }
}

bool is_ours(const void* caller) {
  const auto address = reinterpret_cast<std::uintptr_t>(caller);
  return address >= ours_begin && address < ours_end;
}

void* allocate(std::size_t size, std::size_t alignment, const void* caller) {
  if (allocations_left >= 0 && is_ours(caller) && allocations_left-- == 0) throw std::bad_alloc();
  const std::size_t bytes = (size + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, bytes == 0 ? alignment : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size, alignof(std::max_align_t), __builtin_return_address(0));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment), __builtin_return_address(0));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

using mnistkit::test::artifact;

/// Lets allocation 0, 1, 2... of `call` fail until it succeeds; each failure must be told as one.
template <class Call>
void fail_each_allocation(const char* name, long most, Call&& call) {
  for (long n = 0; n < most; ++n) {
    allocations_left = n;
    const mnistkit_status status = call();
    const bool failed = allocations_left < 0;
    allocations_left = -1;
    if (!failed) {
      CHECK_EQ(status, MNISTKIT_OK);
      std::printf("       %s: %ld allocations\n", name, n);
      CHECK(n > 0);
      return;
    }
    CHECK_EQ(status, MNISTKIT_OUT_OF_MEMORY);
    CHECK(std::strstr(mnistkit_last_error(), "memory") != nullptr);
  }
}

void calls() {
  const mnistkit::detail::Golden digits = mnistkit::test::golden_digits();
  std::vector<float> logits(digits.logits.size());
  std::vector<mnistkit_prediction> predictions(digits.count());
  mnistkit_runner* runner = nullptr;
  CHECK_EQ(mnistkit_runner_open(artifact().c_str(), nullptr, &runner), MNISTKIT_OK);
  const auto run = [&] {
    return mnistkit_runner_logits(runner, digits.images.data(), digits.images.size(), logits.data(),
                                  logits.size());
  };
  for (int i = 0; i < 3; ++i) CHECK_EQ(run(), MNISTKIT_OK);  // libtorch compiles for this size
  fail_each_allocation("logits", 5000, run);
  fail_each_allocation("classify", 5000, [&] {
    return mnistkit_runner_classify(runner, digits.images.data(), digits.images.size(),
                                    predictions.data(), predictions.size());
  });
  fail_each_allocation("device name", 100, [&] {
    char name[16];
    return mnistkit_runner_device_name(0, name, sizeof name);
  });
  mnistkit_self_check report;
  CHECK_EQ(mnistkit_runner_self_check(runner, &report), MNISTKIT_OK);
  CHECK_EQ(report.passed, 1);
  CHECK_EQ(mnistkit_runner_close(runner), MNISTKIT_OK);
}

/// Opening allocates often, most of it for the manifest: every one at first, then some of them.
void open() {
  const std::string folder = artifact();
  mnistkit_runner_options options;
  mnistkit_runner_options_init(&options);
  const std::int64_t none = 0;
  options.warmup = &none;
  options.warmup_count = 0;
  options.verify = 0;
  for (long n = 0;; n += n < 12 ? 1 : n / 2) {
    mnistkit_runner* runner = nullptr;
    allocations_left = n;
    const mnistkit_status status = mnistkit_runner_open(folder.c_str(), &options, &runner);
    const bool failed = allocations_left < 0;
    allocations_left = -1;
    CHECK_EQ(status, failed ? MNISTKIT_OUT_OF_MEMORY : MNISTKIT_OK);
    CHECK_EQ(runner == nullptr, failed);
    if (!failed) {
      std::printf("       open: fewer than %ld allocations\n", n + 1);
      CHECK_EQ(mnistkit_runner_close(runner), MNISTKIT_OK);
      return;
    }
  }
}

}  // namespace

int main() {
  find_ours();
  return mnistkit::test::run({{"calls", calls}, {"open", open}});
}
