// engine_bench FILE.mnk... : the engine's time per image, for each kernel set that this CPU runs.
//
// Rounds of all files, sets and batch sizes are interleaved, so that a change of the clock meets
// all of them, and the shortest round counts. Pin it: taskset -c 1 engine_bench base-int8.mnk
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "mnistkit/engine.h"

namespace {

constexpr int kRounds = 50;
constexpr double kRoundSeconds = 0.004;
constexpr std::size_t kBatches[] = {1, 16, 256};

struct Case {
  const char* file;
  mnistkit_engine* engine;
  std::size_t batch;
  double best;  // seconds for an image
};

double seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace

int main(int argc, char** argv) {
  const char* forced = std::getenv("MNISTKIT_KERNELS");
  std::vector<Case> cases;
  for (int i = 1; i < argc; ++i) {
    for (std::size_t k = 0; k + 1 < mnistkit_engine_kernel_count(); ++k) {
      const char* name = forced ? forced : mnistkit_engine_kernel_name(k);
      if (!forced && !mnistkit_engine_kernel_supported(k)) continue;
      mnistkit_engine* engine = nullptr;
      if (mnistkit_engine_open_file(argv[i], name, &engine) != MNISTKIT_ENGINE_OK) {
        std::fprintf(stderr, "%s: %s\n", argv[i], mnistkit_engine_last_error());
        return 1;
      }
      for (const std::size_t batch : kBatches) cases.push_back({argv[i], engine, batch, 1e9});
      if (forced) break;
    }
  }
  if (cases.empty()) {
    std::fprintf(stderr, "usage: engine_bench FILE.mnk...\n");
    return 2;
  }
  std::vector<std::uint8_t> images(256 * MNISTKIT_ENGINE_IMAGE_BYTES);
  std::uint32_t state = 1;
  for (std::uint8_t& byte : images)
    byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  std::vector<float> logits(256 * MNISTKIT_ENGINE_CLASSES);
  std::vector<std::uint8_t> scratch;
  for (int round = 0; round < kRounds; ++round) {
    for (Case& one : cases) {
      scratch.resize(mnistkit_engine_scratch_size(one.engine, one.batch));
      std::size_t runs = 0;
      const double start = seconds();
      double end = start;
      while (end - start < kRoundSeconds) {
        const std::size_t group = one.batch == 1 ? 16 : 1;
        for (std::size_t i = 0; i < group; ++i) {
          mnistkit_engine_run(one.engine, images.data(), one.batch, logits.data(), scratch.data(),
                              scratch.size());
        }
        runs += group;
        end = seconds();
      }
      const double each = (end - start) / static_cast<double>(runs * one.batch);
      if (round > 0 && each < one.best) one.best = each;
    }
  }
  std::printf("%-24s %-12s %-6s %6s %10s %12s\n", "file", "kernels", "type", "batch", "us/image",
              "images/s");
  for (const Case& one : cases) {
    std::printf("%-24s %-12s %-6s %6zu %10.2f %12.0f\n", mnistkit_engine_net(one.engine),
                mnistkit_engine_kernels(one.engine), mnistkit_engine_precision(one.engine),
                one.batch, one.best * 1e6, 1.0 / one.best);
  }
  return 0;
}
