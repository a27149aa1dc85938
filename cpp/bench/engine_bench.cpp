// engine_bench [--threads N] FILE.mnk... : the engine's time per image, for each kernel set that
// this CPU runs; with --threads, batches on a pool of N threads too, and how many times as fast
// that is.
//
// Rounds of all files, sets, batch sizes and thread counts are interleaved, so that a change of the
// clock meets all of them, and the shortest round counts. Pin it: taskset -c 1 engine_bench
// base-int8.mnk
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "mnistkit/engine.h"

namespace {

constexpr int kRounds = 50;
constexpr double kRoundSeconds = 0.004;
constexpr std::size_t kBatches[] = {1, 16, 256};
constexpr std::size_t kSplitBatches[] = {32, 64, 256, 1024};
constexpr std::size_t kLargest = 1024;

struct Case {
  mnistkit_engine* engine;
  std::size_t batch;
  bool pooled;
  double best;  // seconds for an image
};

double seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

int failed(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, mnistkit_engine_last_error());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const char* forced = std::getenv("MNISTKIT_KERNELS");
  mnistkit_engine_pool* pool = nullptr;
  std::vector<Case> cases;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc && cases.empty() && !pool) {
      const std::size_t threads = std::strtoul(argv[++i], nullptr, 10);
      if (mnistkit_engine_pool_create(threads, &pool)) return failed("--threads");
      continue;
    }
    for (std::size_t k = 0; k + 1 < mnistkit_engine_kernel_count(); ++k) {
      const char* name = forced ? forced : mnistkit_engine_kernel_name(k);
      if (!forced && !mnistkit_engine_kernel_supported(k)) continue;
      mnistkit_engine* engine = nullptr;
      if (mnistkit_engine_open_file(argv[i], name, &engine)) return failed(argv[i]);
      if (!pool) {
        for (const std::size_t batch : kBatches) cases.push_back({engine, batch, false, 1e9});
      } else {
        for (const std::size_t batch : kSplitBatches) {
          for (const bool pooled : {false, true}) cases.push_back({engine, batch, pooled, 1e9});
        }
      }
      if (forced || pool) break;
    }
  }
  if (cases.empty()) {
    std::fprintf(stderr, "usage: engine_bench [--threads N] FILE.mnk...\n");
    return 2;
  }
  const std::size_t threads = pool ? mnistkit_engine_pool_threads(pool) : 1;
  std::vector<std::uint8_t> images(kLargest * MNISTKIT_ENGINE_IMAGE_BYTES);
  std::uint32_t state = 1;
  for (std::uint8_t& byte : images)
    byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  std::vector<float> logits(kLargest * MNISTKIT_ENGINE_CLASSES);
  std::vector<std::uint8_t> scratch;
  const auto run = [&](const Case& one) {
    return one.pooled ? mnistkit_engine_run_parallel(one.engine, pool, images.data(), one.batch,
                                                     logits.data(), scratch.data(), scratch.size())
                      : mnistkit_engine_run(one.engine, images.data(), one.batch, logits.data(),
                                            scratch.data(), scratch.size());
  };
  for (int round = 0; round < kRounds; ++round) {
    for (Case& one : cases) {
      scratch.resize(
          mnistkit_engine_parallel_scratch_size(one.engine, one.batch, one.pooled ? threads : 1));
      if (run(one)) return failed("run");
      std::size_t runs = 0;
      const double start = seconds();
      double end = start;
      while (end - start < kRoundSeconds) {
        const std::size_t group = one.batch == 1 ? 16 : 1;
        for (std::size_t i = 0; i < group; ++i) run(one);
        runs += group;
        end = seconds();
      }
      const double each = (end - start) / static_cast<double>(runs * one.batch);
      if (round > 0 && each < one.best) one.best = each;
    }
  }
  std::printf("%-24s %-12s %-6s %6s %7s %10s %12s\n", "file", "kernels", "type", "batch", "threads",
              "us/image", "images/s");
  double alone = 0;
  for (const Case& one : cases) {
    std::printf("%-24s %-12s %-6s %6zu %7zu %10.2f %12.0f", mnistkit_engine_net(one.engine),
                mnistkit_engine_kernels(one.engine), mnistkit_engine_precision(one.engine),
                one.batch, one.pooled ? threads : 1, one.best * 1e6, 1.0 / one.best);
    if (one.pooled) std::printf(" %5.2f times", alone / one.best);
    std::printf("\n");
    alone = one.best;
  }
  mnistkit_engine_pool_close(pool);
  return 0;
}
