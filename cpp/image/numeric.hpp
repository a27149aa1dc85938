// Sums, medians and roundings in the order in which numpy does them, so that C++ and Python give
// the same bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace mnistkit::image {

/// The sum of n contiguous values, pairwise.
template <class T>
T pairwise_sum(const T* values, std::size_t n) {
  if (n < 8) {
    T sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += values[i];
    return sum;
  }
  if (n <= 128) {
    T part[8];
    std::copy(values, values + 8, part);
    std::size_t i = 8;
    for (; i < n - n % 8; i += 8) {
      for (std::size_t j = 0; j < 8; ++j) part[j] += values[i + j];
    }
    T sum =
        ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    for (; i < n; ++i) sum += values[i];
    return sum;
  }
  const std::size_t half = n / 2 - n / 2 % 8;
  return pairwise_sum(values, half) + pairwise_sum(values + half, n - half);
}

/// The value at share q of the sorted values, between two of them by a straight line; 0 if empty.
template <class T>
T quantile(std::vector<T> values, double q) {
  if (values.empty()) return 0;
  const double at = static_cast<double>(values.size() - 1) * q;
  const auto below = static_cast<std::size_t>(at);
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), middle, values.end());
  const T low = *middle;
  if (below + 1 == values.size()) return low;
  const T high = *std::min_element(middle + 1, values.end());
  const T share = static_cast<T>(at - static_cast<double>(below));
  const T step = high - low;
  return share >= T(0.5) ? high - step * (1 - share) : low + step * share;
}

/// The middle value, or the mean of the two in the middle; 0 if empty.
template <class T>
T median(std::vector<T> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

/// To the nearest whole number, halves to the even one.
inline double round_even(double value) { return std::nearbyint(value); }

inline std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

}  // namespace mnistkit::image
