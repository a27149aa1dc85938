// Which pieces of ink can be the digit; the rest is dirt, a shadow or the edge of the paper.
#include <algorithm>
#include <cstddef>

#include "image/ink.hpp"
#include "image/numeric.hpp"

namespace mnistkit::image {
namespace {

constexpr std::size_t kBlocks = 160;  // pieces are told apart on at most this many rows and columns
constexpr double kSpeck = 0.04;       // a piece smaller than this share of the largest is dirt
constexpr double kClear = 0.1;        // a piece this large beside the largest can be the digit

/// A number for each cell: that of its 8-connected piece, from 1, or 0 outside.
std::vector<std::size_t> number_pieces(const std::vector<std::size_t>& areas, std::size_t rows,
                                       std::size_t columns, std::size_t& pieces) {
  std::vector<std::size_t> labels(areas.size(), 0), todo;
  pieces = 0;
  for (std::size_t start = 0; start < areas.size(); ++start) {
    if (areas[start] == 0 || labels[start] != 0) continue;
    labels[start] = ++pieces;
    todo.push_back(start);
    while (!todo.empty()) {
      const std::size_t at = todo.back();
      todo.pop_back();
      const std::size_t y = at / columns, x = at % columns;
      for (std::size_t v = y - (y > 0); v <= std::min(y + 1, rows - 1); ++v) {
        for (std::size_t u = x - (x > 0); u <= std::min(x + 1, columns - 1); ++u) {
          const std::size_t next = v * columns + u;
          if (areas[next] == 0 || labels[next] != 0) continue;
          labels[next] = pieces;
          todo.push_back(next);
        }
      }
    }
  }
  return labels;
}

Mask grow(const Mask& mask, std::size_t rows, std::size_t columns) {
  Mask grown(mask.size(), 0);
  for (std::size_t y = 0; y < rows; ++y) {
    for (std::size_t x = 0; x < columns; ++x) {
      for (std::size_t v = y - (y > 0); v <= std::min(y + 1, rows - 1); ++v) {
        for (std::size_t u = x - (x > 0); u <= std::min(x + 1, columns - 1); ++u) {
          grown[y * columns + x] |= mask[v * columns + u];
        }
      }
    }
  }
  return grown;
}

}  // namespace

Mask without_dirt(const Mask& mask, std::size_t height, std::size_t width, std::size_t reach) {
  const std::size_t block = ceil_div(std::max(height, width), kBlocks);
  const std::size_t rows = ceil_div(height, block), columns = ceil_div(width, block);
  std::vector<std::size_t> areas(rows * columns, 0);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      areas[y / block * columns + x / block] += mask[y * width + x];
    }
  }
  std::size_t pieces = 0;
  const std::vector<std::size_t> labels = number_pieces(areas, rows, columns, pieces);
  std::vector<double> sizes(pieces + 1, 0.0);
  for (std::size_t i = 0; i < areas.size(); ++i) sizes[labels[i]] += static_cast<double>(areas[i]);
  sizes[0] = 0;
  const double largest = *std::max_element(sizes.begin(), sizes.end());
  Mask keep(sizes.size(), 0);
  for (std::size_t i = 1; i < sizes.size(); ++i) keep[i] = sizes[i] >= kSpeck * largest;
  // The edge of the paper or a shadow comes in from outside; a digit lies clear of the border,
  // unless there is nothing else.
  Mask clear = keep;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::size_t y = i / columns, x = i % columns;
    if (y == 0 || y + 1 == rows || x == 0 || x + 1 == columns) clear[labels[i]] = 0;
  }
  double largest_clear = 0;
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    if (clear[i]) largest_clear = std::max(largest_clear, sizes[i]);
  }
  if (largest_clear >= kClear * largest) keep = clear;
  keep[0] = 0;
  Mask near(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i) near[i] = keep[labels[i]];
  for (std::size_t turn = 0; turn < 1 + ceil_div(reach + 1, block); ++turn) {
    near = grow(near, rows, columns);
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    near[i] = near[i] && (keep[labels[i]] || labels[i] == 0);
  }
  Mask kept(height * width);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      kept[y * width + x] = near[y / block * columns + x / block];
    }
  }
  return kept;
}

}  // namespace mnistkit::image
