// Small helpers that every kernel file has its own copy of.
#pragma once

#include <cstdint>
#include <cstring>

#include "../plan.hpp"

namespace mnistkit::engine {
namespace {

// round(value), ties to even, clamped to low..127. The bounds are integers, so clamping first is
// the same; adding and taking away 1.5 * 2^23 rounds in the default floating-point environment.
inline std::int32_t round_clamp(float value, float low) {
  constexpr float kShift = 12582912.0f;
  value = value < low ? low : value > 127.0f ? 127.0f : value;
  return static_cast<std::int32_t>((value + kShift) - kShift);
}

template <class T>
inline T get(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
inline void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

// The first image's element at pixel (y, x), which may lie on the border.
template <class B>
inline B* element(const Map& map, B* base, std::uint32_t images, std::uint32_t plane,
                  std::int32_t y, std::int32_t x) {
  const auto border = static_cast<std::int32_t>(map.border);
  const std::size_t pixel =
      static_cast<std::size_t>(y + border) * map.pitch + static_cast<std::size_t>(x + border);
  return base + (std::size_t{plane} * map.plane + pixel) * images * 4;
}

}  // namespace
}  // namespace mnistkit::engine
