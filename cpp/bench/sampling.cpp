#include "bench/sampling.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#endif

namespace mnistkit::bench {

void run_for(const std::function<void()>& call, double seconds, std::vector<double>& samples_us) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(seconds));
  while (true) {
    const auto start = Clock::now();
    call();
    const auto stop = Clock::now();
    samples_us.push_back(std::chrono::duration<double, std::micro>(stop - start).count());
    if (stop >= end) return;
  }
}

Summary summarize(std::vector<double> samples_us) {
  std::sort(samples_us.begin(), samples_us.end());
  const auto percentile = [&](double fraction) {
    const double place = fraction * static_cast<double>(samples_us.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, samples_us.size() - 1);
    const double weight = place - static_cast<double>(below);
    return samples_us[below] * (1 - weight) + samples_us[above] * weight;
  };
  Summary summary{percentile(0.50), percentile(0.90), percentile(0.95), percentile(0.99), 0, 0};
  const auto count = static_cast<double>(samples_us.size());
  summary.mean = std::accumulate(samples_us.begin(), samples_us.end(), 0.0) / count;
  double squares = 0;
  for (const double sample : samples_us)
    squares += (sample - summary.mean) * (sample - summary.mean);
  summary.cv = std::sqrt(squares / count) / summary.mean;
  return summary;
}

std::vector<double> thinned(const std::vector<double>& samples, std::size_t most) {
  const std::size_t step = (samples.size() + most - 1) / most;
  std::vector<double> kept;
  for (std::size_t i = 0; i < samples.size(); i += step) kept.push_back(samples[i]);
  return kept;
}

double peak_rss_mb() {
#if defined(__APPLE__)
  constexpr double kUnit = 1024.0 * 1024.0;  // bytes
#else
  constexpr double kUnit = 1024.0;  // KiB
#endif
#if defined(__unix__) || defined(__APPLE__)
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) == 0) return static_cast<double>(usage.ru_maxrss) / kUnit;
#endif
  return 0;
}

std::vector<unsigned char> noise(std::size_t count) {
  std::mt19937 generator(0);
  std::vector<unsigned char> bytes(count);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(generator());
  return bytes;
}

}  // namespace mnistkit::bench
