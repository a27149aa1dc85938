#include "image/resample.hpp"

#include <algorithm>
#include <cmath>

namespace mnistkit::image {
namespace {

struct Weights {
  std::size_t first = 0;
  std::vector<double> values;
};

/// For each of `out` results over `from` to `to` of `in` values.
std::vector<Weights> weights_for(std::size_t in, std::size_t from, std::size_t to,
                                 std::size_t out) {
  const double scale = static_cast<double>(to - from) / static_cast<double>(out);
  const double reach = std::max(scale, 1.0);
  std::vector<Weights> all(out);
  for (std::size_t i = 0; i < out; ++i) {
    const double centre = static_cast<double>(from) + (static_cast<double>(i) + 0.5) * scale;
    const auto least = static_cast<std::ptrdiff_t>(centre - reach + 0.5);
    const auto most = static_cast<std::ptrdiff_t>(centre + reach + 0.5);
    all[i].first = static_cast<std::size_t>(std::max(least, std::ptrdiff_t{0}));
    const std::size_t last = std::min(static_cast<std::size_t>(most), in);
    double sum = 0;
    for (std::size_t at = all[i].first; at < last; ++at) {
      const double away = std::abs((static_cast<double>(at) - centre + 0.5) * (1.0 / reach));
      all[i].values.push_back(away < 1.0 ? 1.0 - away : 0.0);
      sum += all[i].values.back();
    }
    for (double& value : all[i].values) {
      if (sum != 0.0) value /= sum;
    }
  }
  return all;
}

float weighted(const float* values, std::size_t step, const Weights& weights) {
  double sum = 0;
  const float* at = values + weights.first * step;
  for (const double weight : weights.values) {
    sum += double{*at} * weight;
    at += step;
  }
  return static_cast<float>(sum);
}

}  // namespace

std::vector<float> resize(const std::vector<float>& values, std::size_t height, std::size_t width,
                          const Ink::Box& box, std::size_t rows, std::size_t columns) {
  std::vector<float> wide;
  const std::vector<float>* current = &values;
  std::size_t line = width;
  if (columns != width || box.left != 0 || box.right != columns) {
    const std::vector<Weights> across = weights_for(width, box.left, box.right, columns);
    wide.resize(height * columns);
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < columns; ++x) {
        wide[y * columns + x] = weighted(values.data() + y * width, 1, across[x]);
      }
    }
    current = &wide;
    line = columns;
  }
  if (rows == height && box.top == 0 && box.bottom == rows) return *current;
  const std::vector<Weights> down = weights_for(height, box.top, box.bottom, rows);
  std::vector<float> out(rows * columns);
  for (std::size_t y = 0; y < rows; ++y) {
    for (std::size_t x = 0; x < columns; ++x) {
      out[y * columns + x] = weighted(current->data() + x, line, down[y]);
    }
  }
  return out;
}

}  // namespace mnistkit::image
