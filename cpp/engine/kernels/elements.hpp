// Small helpers that every kernel file has its own copy of.
#pragma once

#include <cstdint>
#include <cstring>

#include "../exact.hpp"
#include "../plan.hpp"

namespace mnistkit::engine {
namespace {

// round(value), ties to even, clamped to low..127, for a `scaled` integer and a low of -128 to
// 0. What is done to it in float is exact, so that no flag can make a difference; it is rounded as
// an integer of 24 binary places. Those below 2^-24, which are lost, belong to values under 1/2.
MNISTKIT_INLINE std::int32_t round_clamp(float value, std::int32_t low) {
  constexpr int kPlaces = 24;
  const auto least = static_cast<float>(low);
  value = value < least ? least : value > 127.0f ? 127.0f : value;
  const auto fixed = static_cast<std::int32_t>(value * (1 << kPlaces));
  // 1/2, less the last bit where the integer is even: so a tie carries where it is odd.
  const std::int32_t half = (1 << (kPlaces - 1)) - 1 + (fixed >> kPlaces & 1);
  return (fixed + half) >> kPlaces;
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
