// mnistkit-bench: latency and throughput of mnistkit::Runner over batch sizes. Its JSON has the
// rows of `mnistkit bench --json`, so the two can be laid side by side.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "apps/arguments.hpp"
#include "apps/program.hpp"
#include "bench/sampling.hpp"
#include "mnistkit/runner.hpp"
#include "mnistkit/version.h"

namespace {

using namespace mnistkit;
using namespace mnistkit::apps;
using namespace mnistkit::bench;

constexpr const char* kHelp =
    R"(Usage: mnistkit-bench DIR [options]

Times the TorchScript model in the artifact folder DIR: from bytes in the caller's memory to
logits in the caller's memory. The model must reproduce the golden digits first.

  --precision P    fp32 (default), fp16 (GPU) or int8 (CPU)
  --device D       cpu (default), cuda or cuda:N
  --threads N      CPU threads (default 1); 0 leaves libtorch's choice
  --batch A,B,..   batch sizes (default 1,8,64,512)
  --duration S     seconds a batch size (default 1)
  --warmup S       seconds before them (default 0.2)
  --no-cuda-graphs do not record the batch sizes as CUDA graphs
  --json FILE      write the rows to FILE, "-" for standard output
  --help           print this

Exit codes: 0 done; 1 a check failed; 2 the call was wrong; 3 something is missing.
)";

constexpr int kRounds = 12;        // slices, in turn over the batch sizes
constexpr std::size_t kRaw = 250;  // samples of each row that go into the JSON

struct Row {
  std::int64_t batch;
  std::vector<std::uint8_t> images;
  std::vector<float> logits;
  std::vector<double> samples_us;
};

struct Settings {
  RunnerOptions options;
  double duration_s;
  double warmup_s;
  std::string json;
};

/// The same image must give the same logits alone and in a batch, or its times mean nothing.
void check_equal(const Runner& runner, const Row& row) {
  const std::vector<float> alone = runner.logits(std::span(row.images).first(kImageBytes));
  const std::vector<float> together = runner.logits(row.images);
  for (std::size_t i = 0; i < kClasses; ++i) {
    if (std::abs(alone[i] - together[i]) <= 0.05F) continue;
    throw Error(ErrorCode::check_failed, "batch " + std::to_string(row.batch) +
                                             " gives other logits than batch 1: not timed");
  }
}

std::string to_json(const Row& row, const Settings& settings, double load_ms) {
  const Summary s = summarize(row.samples_us);
  char text[768];
  std::snprintf(text, sizeof text,
                "{\"backend\": \"libtorch\", \"precision\": \"%s\", \"device\": \"%s\", "
                "\"batch\": %lld, \"threads\": %d, \"end_to_end\": true, \"p50_us\": %.3f, "
                "\"p90_us\": %.3f, \"p95_us\": %.3f, \"p99_us\": %.3f, \"mean_us\": %.3f, "
                "\"cv\": %.4f, \"images_per_second\": %.1f, \"load_ms\": %.1f, "
                "\"peak_rss_mb\": %.1f, \"samples\": %zu, \"raw_us\": [",
                to_string(settings.options.precision), settings.options.device.c_str(),
                static_cast<long long>(row.batch), settings.options.threads, s.p50, s.p90, s.p95,
                s.p99, s.mean, s.cv, static_cast<double>(row.batch) / s.p50 * 1e6, load_ms,
                peak_rss_mb(), row.samples_us.size());
  std::string json = text;
  const char* separator = "";
  for (const double sample : thinned(row.samples_us, kRaw)) {
    std::snprintf(text, sizeof text, "%s%.3f", separator, sample);
    json += text;
    separator = ", ";
  }
  return json + "]}";
}

void write_json(const std::vector<Row>& rows, const Settings& settings, double load_ms) {
  std::string json =
      "{\"environment\": {\"cores\": " + std::to_string(std::thread::hardware_concurrency()) +
      ", \"versions\": {\"mnistkit\": \"" MNISTKIT_VERSION_STRING "\", \"torch\": \"" +
      std::string(runner_torch_version()) + "\"}},\n \"rows\": [\n  ";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    json += (i > 0 ? ",\n  " : "") + to_json(rows[i], settings, load_ms);
  }
  json += "\n]}\n";
  write_text(settings.json, json);
}

void print_table(const std::vector<Row>& rows) {
  std::printf("%8s %10s %10s %10s %10s %12s\n", "batch", "p50 us", "p90 us", "p99 us", "mean us",
              "images/s");
  for (const Row& row : rows) {
    const Summary s = summarize(row.samples_us);
    std::printf("%8lld %10.1f %10.1f %10.1f %10.1f %12.0f\n", static_cast<long long>(row.batch),
                s.p50, s.p90, s.p99, s.mean, static_cast<double>(row.batch) / s.p50 * 1e6);
  }
}

void measure(const std::string& artifact, const Settings& settings) {
  const auto start = std::chrono::steady_clock::now();
  const Runner runner(artifact, settings.options);
  const std::chrono::duration<double, std::milli> load = std::chrono::steady_clock::now() - start;

  std::vector<Row> rows;
  for (const std::int64_t batch : settings.options.warmup) {
    const auto count = static_cast<std::size_t>(batch);
    rows.push_back({batch, noise(count * kImageBytes), std::vector<float>(count * kClasses), {}});
  }
  for (Row& row : rows) {
    check_equal(runner, row);
    run_for([&] { runner.logits(row.images, row.logits); }, settings.warmup_s, row.samples_us);
    row.samples_us.clear();
  }
  for (int round = 0; round < kRounds; ++round) {
    for (Row& row : rows) {
      run_for([&] { runner.logits(row.images, row.logits); }, settings.duration_s / kRounds,
              row.samples_us);
    }
  }
  if (settings.json != "-") print_table(rows);
  if (!settings.json.empty()) write_json(rows, settings, load.count());
}

int program(int argc, char** argv) {
  const Arguments arguments(
      argc, argv, {"precision", "device", "threads", "batch", "duration", "warmup", "json"},
      {"help", "no-cuda-graphs"});
  if (arguments.flag("help")) {
    std::fputs(kHelp, stdout);
    return kDone;
  }
  if (arguments.positional().size() != 1) throw UsageError("wants one artifact folder; see --help");
  Settings settings;
  settings.options.precision = parse_precision(arguments.value("precision", "fp32"));
  settings.options.device = arguments.value("device", "cpu");
  settings.options.threads = static_cast<int>(arguments.number("threads", 1, 0, 1024));
  settings.options.warmup = arguments.numbers("batch", "1,8,64,512", 1, 65536);
  settings.options.cuda_graphs = !arguments.flag("no-cuda-graphs");
  settings.duration_s = arguments.real("duration", 1, 0.001, 3600);
  settings.warmup_s = arguments.real("warmup", 0.2, 0, 3600);
  settings.json = arguments.value("json", "");
  measure(arguments.positional()[0], settings);
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("mnistkit-bench", [&] { return program(argc, argv); });
}
