#include <algorithm>
#include <array>
#include <cmath>

#include "image/ink.hpp"
#include "image/numeric.hpp"

namespace mnistkit::image {
namespace {

constexpr std::size_t kTerms = 6;
constexpr std::size_t kGrid = 72;  // the surface is fitted on at most this many rows and columns

using Terms = std::array<double, kTerms>;

/// The terms of a quadratic surface at y, x of 0 to 1: constant and slopes first.
Terms terms_at(double y, double x) {
  const double down = 2 * y - 1, across = 2 * x - 1;
  return {1, down, across, down * across, down * down, across * across};
}

double value_of(const Terms& basis, const Terms& fit, std::size_t terms) {
  double sum = 0;
  for (std::size_t i = 0; i < terms; ++i) sum += basis[i] * fit[i];
  return sum;
}

/// Weighted least squares on the first `terms`, by the normal equations and elimination.
Terms least_squares(const std::vector<Terms>& basis, const std::vector<double>& samples,
                    const std::vector<double>& weights, std::size_t terms) {
  std::array<std::array<double, kTerms + 1>, kTerms> rows{};
  double total = 0;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    total += weights[s];
    for (std::size_t i = 0; i < terms; ++i) {
      const double weighted = basis[s][i] * weights[s];
      for (std::size_t j = 0; j < terms; ++j) rows[i][j] += weighted * basis[s][j];
      rows[i][kTerms] += weighted * samples[s];
    }
  }
  // The ridge keeps a bend that the samples do not show at zero.
  for (std::size_t i = 0; i < terms; ++i) rows[i][i] += 1e-6 * total;
  for (std::size_t i = 0; i < terms; ++i) {
    std::size_t pivot = i;
    for (std::size_t r = i + 1; r < terms; ++r) {
      if (std::abs(rows[r][i]) > std::abs(rows[pivot][i])) pivot = r;
    }
    std::swap(rows[i], rows[pivot]);
    for (std::size_t r = i + 1; r < terms; ++r) {
      const double share = rows[r][i] / rows[i][i];
      for (std::size_t c = i; c <= kTerms; ++c) rows[r][c] -= share * rows[i][c];
    }
  }
  Terms fit{};
  for (std::size_t i = terms; i-- > 0;) {
    double rest = rows[i][kTerms];
    for (std::size_t j = i + 1; j < terms; ++j) rest -= rows[i][j] * fit[j];
    fit[i] = rest / rows[i][i];
  }
  return fit;
}

/// A level or a slope that most of the border lies on; ink or an edge that touches it is left out.
Terms border_fit(const std::vector<Terms>& basis, const std::vector<double>& samples,
                 std::size_t terms, double tolerance) {
  const auto near = [&](auto&& expected) {
    std::size_t count = 0;
    for (std::size_t s = 0; s < samples.size(); ++s) {
      count += std::abs(samples[s] - expected(s)) < tolerance;
    }
    return count;
  };
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  Terms level{};
  std::size_t most = 0;
  for (int percent = 0; percent <= 100; percent += 2) {
    const double at = static_cast<double>(sorted.size() - 1) * (percent / 100.0);
    const auto below = static_cast<std::size_t>(at);
    const double low = sorted[below], high = sorted[std::min(below + 1, sorted.size() - 1)];
    const double share = at - static_cast<double>(below), step = high - low;
    const double here = share >= 0.5 ? high - step * (1 - share) : low + step * share;
    const std::size_t count = near([&](std::size_t) { return here; });
    if (percent == 0 || count > most) {
      most = count;
      level[0] = here;
    }
  }
  if (static_cast<double>(most) > 0.6 * static_cast<double>(samples.size()) || terms < 3) {
    return level;
  }
  Terms slope{};
  std::vector<double> weights(samples.size(), 0.5);
  for (int turn = 0; turn < 12; ++turn) {
    slope = least_squares(basis, samples, weights, 3);
    for (std::size_t s = 0; s < samples.size(); ++s) {
      weights[s] = 1 / std::max(std::abs(samples[s] - value_of(basis[s], slope, 3)), 2.0);
    }
  }
  const std::size_t on_slope = near([&](std::size_t s) { return value_of(basis[s], slope, 3); });
  return on_slope > most ? slope : level;
}

/// Whole positions of `count` evenly spaced points over 0 to size - 1, each once.
std::vector<std::size_t> grid(std::size_t size) {
  const std::size_t count = std::min(size, kGrid);
  const double step = static_cast<double>(size - 1) / static_cast<double>(count - 1);
  std::vector<std::size_t> points;
  for (std::size_t i = 0; i < count; ++i) {
    const auto point = i + 1 == count
                           ? size - 1
                           : static_cast<std::size_t>(round_even(static_cast<double>(i) * step));
    if (points.empty() || points.back() != point) points.push_back(point);
  }
  return points;
}

std::vector<double> unit_steps(std::size_t size) {
  const double step = 1.0 / static_cast<double>(size - 1);
  std::vector<double> points(size);
  for (std::size_t i = 0; i < size; ++i) points[i] = static_cast<double>(i) * step;
  points.back() = 1;
  return points;
}

/// The usual difference between neighbours in a row, on the rows of the grid.
double grain_of(const Planes& picture, const std::vector<std::size_t>& rows, std::size_t channel) {
  std::vector<float> steps;
  steps.reserve(rows.size() * picture.width);
  for (const std::size_t y : rows) {
    const float* row = picture.row(y) + channel;
    for (std::size_t x = 1; x < picture.width; ++x) {
      steps.push_back(std::abs(row[x * picture.channels] - row[(x - 1) * picture.channels]));
    }
  }
  return double{median(std::move(steps))} / 0.95;
}

}  // namespace

Planes background(const Planes& picture) {
  const std::size_t height = picture.height, width = picture.width;
  const std::vector<std::size_t> rows = grid(height), columns = grid(width);
  const std::size_t rim = std::max(std::min(height, width) / 30, std::size_t{1});
  const std::size_t terms = std::min(height, width) >= 16 ? kTerms : 1;
  std::vector<Terms> basis, border_basis;
  std::vector<bool> on_rim;
  for (const std::size_t y : rows) {
    for (const std::size_t x : columns) {
      basis.push_back(terms_at(static_cast<double>(y) / static_cast<double>(height - 1),
                               static_cast<double>(x) / static_cast<double>(width - 1)));
      on_rim.push_back(y < rim || y >= height - rim || x < rim || x >= width - rim);
      if (on_rim.back()) border_basis.push_back(basis.back());
    }
  }
  const std::vector<double> down = unit_steps(height), across = unit_steps(width);
  Planes surface{height, width, picture.channels, std::vector<float>(picture.values.size())};
  for (std::size_t channel = 0; channel < picture.channels; ++channel) {
    std::vector<double> samples, border;
    for (const std::size_t y : rows) {
      for (const std::size_t x : columns) {
        samples.push_back(double{picture.row(y)[x * picture.channels + channel]});
        if (on_rim[samples.size() - 1]) border.push_back(samples.back());
      }
    }
    const double spread = std::max(2 * grain_of(picture, rows, channel), 3.0);
    Terms fit = border_fit(border_basis, border, terms, 3 * spread);
    std::vector<double> weights(samples.size());
    for (int turn = 0; turn < 6; ++turn) {
      std::size_t near = 0;
      for (std::size_t s = 0; s < samples.size(); ++s) {
        const double residual = std::abs(samples[s] - value_of(basis[s], fit, terms));
        const bool is_near = residual < 3 * spread;
        near += is_near;
        weights[s] = is_near ? 1 / std::max(residual, spread) : 0;
      }
      if (near < border.size() / 4) break;
      fit = least_squares(basis, samples, weights, terms);
    }
    float* to = surface.values.data() + channel;
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x, to += picture.channels) {
        const double level = value_of(terms_at(down[y], across[x]), fit, terms);
        *to = std::clamp(static_cast<float>(level), 0.0F, 255.0F);
      }
    }
  }
  return surface;
}

}  // namespace mnistkit::image
