// What mnistkit::Runner adds to a bare forward of the same TorchScript module: both are timed in
// turn in one run, call by call, at batch 1 and 256. Exit code 1 where it is more than 5 % + 2 us.
//
// The bare call is what a program without mnistkit would do: a tensor over the caller's bytes,
// module.forward, a pointer to the logits. It gets the form of the graph that the Runner may
// choose from, frozen or optimized for inference, whichever is faster.
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "apps/arguments.hpp"
#include "apps/program.hpp"
#include "bench/sampling.hpp"
#include "mnistkit/runner.hpp"

namespace {

using namespace mnistkit;
using namespace mnistkit::apps;
using namespace mnistkit::bench;

constexpr double kRatio = 1.05;
constexpr double kExtraUs = 2.0;

void bare(torch::jit::Module& module, std::vector<std::uint8_t>& images, std::vector<float>& out) {
  const c10::InferenceMode inference;
  const auto count = static_cast<std::int64_t>(images.size() / kImageBytes);
  const at::Tensor input = at::from_blob(images.data(), {count, 1, 28, 28}, at::kByte);
  const at::Tensor logits = module.forward({input}).toTensor();
  std::memcpy(out.data(), logits.const_data_ptr<float>(), out.size() * sizeof(float));
}

double median(const std::vector<double>& samples) { return summarize(samples).p50; }

struct Comparison {
  bool within;
  std::string json;
};

Comparison compare(const std::string& folder, const Runner& runner, std::int64_t batch,
                   double seconds) {
  const std::string path = folder + "/model-fp32.torchscript";
  torch::jit::Module frozen = torch::jit::load(path);
  torch::jit::Module unfrozen = torch::jit::load(path);
  torch::jit::Module optimized = torch::jit::optimize_for_inference(unfrozen);

  std::vector<std::uint8_t> images = noise(static_cast<std::size_t>(batch) * kImageBytes);
  std::vector<float> logits(static_cast<std::size_t>(batch) * kClasses);
  const auto of_frozen = [&] { bare(frozen, images, logits); };
  const auto of_optimized = [&] { bare(optimized, images, logits); };
  const auto of_runner = [&] { runner.logits(images, logits); };

  std::vector<double> a, b, c;
  for (int i = 0; i < 5; ++i) of_frozen(), of_optimized(), of_runner();
  const int rounds = 200;
  for (int round = 0; round < rounds; ++round) {
    run_for(of_frozen, seconds / rounds / 3, a);
    run_for(of_optimized, seconds / rounds / 3, b);
    run_for(of_runner, seconds / rounds / 3, c);
  }
  const double bare_us = std::min(median(a), median(b));
  const double runner_us = median(c);
  const bool within = runner_us <= bare_us * kRatio + kExtraUs;
  std::printf(
      "batch %4lld: bare frozen %8.1f us, bare optimized %8.1f us, Runner %8.1f us: "
      "ratio %.3f, %+.1f us, %s\n",
      static_cast<long long>(batch), median(a), median(b), runner_us, runner_us / bare_us,
      runner_us - bare_us, within ? "within 5 % + 2 us" : "ABOVE 5 % + 2 us");
  char json[256];
  std::snprintf(json, sizeof json,
                "{\"batch\": %lld, \"bare_frozen_us\": %.2f, \"bare_optimized_us\": %.2f, "
                "\"runner_us\": %.2f, \"ratio\": %.4f, \"within\": %s, \"samples\": %zu}",
                static_cast<long long>(batch), median(a), median(b), runner_us, runner_us / bare_us,
                within ? "true" : "false", c.size());
  return {within, json};
}

int program(int argc, char** argv) {
  const Arguments arguments(argc, argv, {"duration", "threads", "json"}, {});
  if (arguments.positional().size() != 1) {
    throw UsageError(
        "Usage: mnistkit-overhead DIR [--duration SECONDS] [--threads N] [--json FILE]");
  }
  const std::string folder = arguments.positional()[0];
  const double seconds = arguments.real("duration", 6, 0.001, 3600);
  RunnerOptions options;
  options.threads = static_cast<int>(arguments.number("threads", 1, 0, 1024));
  options.warmup = {1, 256};
  const Runner runner(folder, options);
  bool within = true;
  std::string rows;
  for (const std::int64_t batch : {1, 256}) {
    const Comparison comparison = compare(folder, runner, batch, seconds);
    within &= comparison.within;
    rows += (rows.empty() ? "" : ",\n  ") + comparison.json;
  }
  if (const std::string file = arguments.value("json", ""); !file.empty()) {
    write_text(file, std::string("{\"torch\": \"") + runner_torch_version() + "\", \"threads\": " +
                         std::to_string(options.threads) + ",\n \"rows\": [\n  " + rows + "\n]}\n");
  }
  return within ? kDone : kCheckFailed;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("mnistkit-overhead", [&] { return program(argc, argv); });
}
