// Timing a call, and what is told of the times.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace mnistkit::bench {

/// Of samples in microseconds; `cv` is the standard deviation over the mean.
struct Summary {
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double mean = 0;
  double cv = 0;
};

/// Calls for `seconds`, at least once, and appends the time of each call in microseconds.
void run_for(const std::function<void()>& call, double seconds, std::vector<double>& samples_us);

/// The samples must not be empty. Percentiles are interpolated linearly, as numpy does.
[[nodiscard]] Summary summarize(std::vector<double> samples_us);

/// At most `most` samples, evenly taken.
[[nodiscard]] std::vector<double> thinned(const std::vector<double>& samples, std::size_t most);

/// The largest resident memory of this process so far in MB; 0 where it is not known.
[[nodiscard]] double peak_rss_mb();

/// Bytes that look like nothing in particular, the same on every run.
[[nodiscard]] std::vector<unsigned char> noise(std::size_t count);

}  // namespace mnistkit::bench
