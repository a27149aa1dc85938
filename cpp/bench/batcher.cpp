// mnistkit-batcher-bench: clients that send one picture at a time, once with a Runner each calls
// for itself, once with a Batcher that they share. Both take turns in one run.
#include "mnistkit/batcher.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/arguments.hpp"
#include "apps/program.hpp"
#include "bench/sampling.hpp"
#include "mnistkit/version.h"

namespace {

using namespace mnistkit;
using namespace mnistkit::apps;
using namespace mnistkit::bench;
using Clock = std::chrono::steady_clock;

constexpr const char* kHelp =
    R"(Usage: mnistkit-batcher-bench DIR [options]

Times clients that send one picture at a time and wait for its answer, each in a thread: calling
the Runner themselves, and through a Batcher.

  --clients N      threads (default 16)
  --max-batch N    of the Batcher (default: clients / workers)
  --max-wait US    of the Batcher, microseconds (default 500)
  --workers N      of the Batcher (default 1)
  --threads N      CPU threads of one call through the Batcher (default 1); the clients that call
                   for themselves have one each
  --precision P    fp32 (default), fp16 (GPU) or int8 (CPU)
  --device D       cpu (default), cuda or cuda:N
  --duration S     seconds for each of the two (default 5)
  --json FILE      write the figures to FILE
  --help           print this
)";

constexpr int kRounds = 10;

struct Side {
  const char* name;
  std::function<void(std::span<const std::uint8_t>)> call;
  std::vector<double> samples_us;
  double seconds = 0;
};

/// All clients call for `seconds`; their times go into the side's samples.
void run_clients(Side& side, std::size_t clients, double seconds,
                 std::span<const std::uint8_t> images) {
  std::vector<std::vector<double>> samples(clients);
  std::vector<std::thread> threads;
  std::atomic<bool> stop = false;
  const auto start = Clock::now();
  for (std::size_t c = 0; c < clients; ++c) {
    threads.emplace_back([&, c] {
      const auto image = images.subspan(c * kImageBytes, kImageBytes);
      while (!stop.load(std::memory_order_relaxed))
        run_for([&] { side.call(image); }, 0, samples[c]);
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  side.seconds += std::chrono::duration<double>(Clock::now() - start).count();
  for (const auto& more : samples) {
    side.samples_us.insert(side.samples_us.end(), more.begin(), more.end());
  }
}

std::string to_json(const Side& side) {
  const Summary s = summarize(side.samples_us);
  char text[256];
  std::snprintf(text, sizeof text,
                "{\"name\": \"%s\", \"requests_per_second\": %.1f, \"p50_us\": %.1f, "
                "\"p90_us\": %.1f, \"p99_us\": %.1f, \"mean_us\": %.1f, \"samples\": %zu}",
                side.name, static_cast<double>(side.samples_us.size()) / side.seconds, s.p50, s.p90,
                s.p99, s.mean, side.samples_us.size());
  return text;
}

int program(int argc, char** argv) {
  const Arguments arguments(argc, argv,
                            {"clients", "max-batch", "max-wait", "workers", "threads", "precision",
                             "device", "duration", "json"},
                            {"help"});
  if (arguments.flag("help")) {
    std::fputs(kHelp, stdout);
    return kDone;
  }
  if (arguments.positional().size() != 1) throw UsageError("wants one artifact folder; see --help");
  const auto clients = static_cast<std::size_t>(arguments.number("clients", 16, 1, 1024));
  const auto workers = static_cast<std::size_t>(arguments.number("workers", 1, 1, 64));
  // Each worker's batch can fill while the clients of the others wait for theirs.
  const auto fair = static_cast<std::int64_t>(std::max<std::size_t>(clients / workers, 1));
  const auto max_batch = arguments.number("max-batch", fair, 1, 1024);
  const auto threads = static_cast<int>(arguments.number("threads", 1, 1, 256));
  const double seconds = arguments.real("duration", 5, 0.01, 3600);

  RunnerOptions options;
  options.precision = parse_precision(arguments.value("precision", "fp32"));
  options.device = arguments.value("device", "cpu");
  options.threads = threads;
  options.warmup.clear();
  for (std::int64_t n = 1; n < max_batch; n *= 2) options.warmup.push_back(n);
  options.warmup.push_back(max_batch);
  const auto runner = std::make_shared<const Runner>(arguments.positional()[0], options);
  const BatcherOptions gathering = {
      .max_batch = static_cast<std::size_t>(max_batch),
      .max_wait = std::chrono::microseconds(arguments.number("max-wait", 500, 0, 1000000)),
      .workers = workers};
  Batcher batcher(runner, gathering);

  const std::vector<std::uint8_t> images =
      noise(std::max(clients, static_cast<std::size_t>(max_batch)) * kImageBytes);
  std::vector<double> batch_us;
  std::vector<float> logits(static_cast<std::size_t>(max_batch) * kClasses);
  const auto whole = std::span(images).first(logits.size() / kClasses * kImageBytes);

  Side alone = {
      "each client calls", [&](auto image) { static_cast<void>(runner->classify(image)); }, {}};
  Side together = {"batcher", [&](auto image) { static_cast<void>(batcher.classify(image)); }, {}};
  for (int round = -1; round < kRounds; ++round) {
    run_for([&] { runner->logits(whole, logits); }, seconds / kRounds / 10, batch_us);
    run_clients(alone, clients, seconds / kRounds, images);
    run_clients(together, clients, seconds / kRounds, images);
    if (round >= 0) continue;  // the first warms up what only threads can
    batch_us.clear();
    for (Side* side : {&alone, &together}) side->samples_us.clear(), side->seconds = 0;
  }

  const auto rate = [](const Side& side) {
    return static_cast<double>(side.samples_us.size()) / side.seconds;
  };
  const BatcherStats stats = batcher.stats();
  const double batch = summarize(batch_us).p50;
  const double bound = static_cast<double>(gathering.max_wait.count()) + 2 * batch;
  const double mean_batch =
      static_cast<double>(stats.answered) / static_cast<double>(stats.batches);
  for (const Side* side : {&alone, &together}) {
    const Summary s = summarize(side->samples_us);
    std::printf("%-18s %8.0f requests/s, p50 %8.1f us, p99 %8.1f us\n", side->name, rate(*side),
                s.p50, s.p99);
  }
  std::printf(
      "throughput %.2f times; %.1f requests a batch; a full batch alone takes %.1f us; "
      "p99 bound %.1f us (wait + 2 batches)\n",
      rate(together) / rate(alone), mean_batch, batch, bound);
  if (const std::string file = arguments.value("json", ""); !file.empty()) {
    char text[512];
    std::snprintf(text, sizeof text,
                  "{\"clients\": %zu, \"max_batch\": %zu, \"max_wait_us\": %lld, \"workers\": %zu, "
                  "\"threads\": %d, \"cores\": %u, \"torch\": \"%s\", \"mnistkit\": \"%s\",\n "
                  "\"throughput_ratio\": %.3f, \"mean_batch\": %.2f, \"batch_us\": %.1f, "
                  "\"p99_bound_us\": %.1f,\n \"rows\": [\n  ",
                  clients, gathering.max_batch, static_cast<long long>(gathering.max_wait.count()),
                  gathering.workers, threads, std::thread::hardware_concurrency(),
                  runner_torch_version(), MNISTKIT_VERSION_STRING, rate(together) / rate(alone),
                  mean_batch, batch, bound);
    write_text(file, text + to_json(alone) + ",\n  " + to_json(together) + "\n]}\n");
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("mnistkit-batcher-bench", [&] { return program(argc, argv); });
}
