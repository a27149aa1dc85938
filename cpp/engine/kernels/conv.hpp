// The dense convolution as a template over a vector type V, for int8 and fp32, one image or many.
//
// Lanes are pixels or images, never channels: a step loads an element for each lane, broadcasts
// one step of the weights of four output channels, and multiplies. A tile is a few vectors of
// outputs by four output channels, all of it in registers. A 2x2 max pool that follows is taken
// on the accumulators.
//
// V gives: kInt8; kImages, kPixels (lanes a unit has), kUnits (units a vector has), kVectors
// (vectors a tile has); Reg, Acc, Weight; load, weight, start, mac, larger, pack or bits, store,
// store_pooled, add_sums; where it has two units, Half, which has one. A set includes this file
// inside its own unnamed namespace's reach: each is compiled with other flags, so nothing here may
// be shared between translation units.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../plan.hpp"
#include "registers.hpp"

namespace mnistkit::engine {
namespace {

// Units past the end are the last one again.
inline const Unit* unit_at(const Step& step, std::uint32_t index) {
  return step.units + (index < step.unit_count ? index : step.unit_count - 1);
}

// acc[n][o] += the products of vector n with output channel o, over all steps of the weights.
// `at` are kUnits pointers for each vector; `row` is the size of one output channel's weights.
template <class V, bool kSigned, int N, int O>
MNISTKIT_INLINE void accumulate(const Step& step, const std::byte* const (&at)[N * V::kUnits],
                                const std::byte* weights, std::size_t row,
                                typename V::Acc (&acc)[N][O]) {
  const std::uint32_t* tap = step.tap;
  const std::uint32_t* const end = tap + step.taps;
  for (; tap != end; ++tap, weights += 4) {
    const std::size_t offset = *tap;
    typename V::Reg value[N];
    MNISTKIT_UNROLL
    for (int n = 0; n < N; ++n) value[n] = V::template load<kSigned>(&at[n * V::kUnits], offset);
    MNISTKIT_UNROLL
    for (int o = 0; o < O; ++o) {
      const typename V::Weight weight = V::weight(weights + o * row);
      MNISTKIT_UNROLL
      for (int n = 0; n < N; ++n) {
        V::template mac<kSigned>(acc[n][o], value[n], weight);
        renew(acc[n][o]);
      }
    }
  }
}

// Stores four output channels of one vector of units.
template <class V, bool kPooled, bool kSums = !kPooled>
MNISTKIT_INLINE void finish(const Step& step, const Op& op, typename V::Acc (&acc)[4],
                            std::uint32_t quad, std::byte* out, std::byte* sums,
                            const Unit* const* units) {
  if constexpr (kSums) {
    if (step.sums) {
      MNISTKIT_UNROLL
      for (int o = 0; o < 4; ++o) V::add_sums(sums, quad * 4 + o, acc[o], units);
      return;
    }
  }
  const std::size_t plane = std::size_t{4} * V::kImages * step.out.plane;
  if constexpr (V::kInt8) {
    const float* multiplier = op.multiplier + quad * 4;
    const auto packed = step.out.is_signed ? V::template pack<true>(acc, multiplier)
                                           : V::template pack<false>(acc, multiplier);
    if constexpr (kPooled) {
      V::store_pooled(packed, out + quad * plane, units);
    } else {
      V::store(packed, out + quad * plane, units);
    }
  } else {
    MNISTKIT_UNROLL
    for (int o = 0; o < 4; ++o) {
      const auto value = op.relu ? V::relu(acc[o]) : acc[o];
      if constexpr (kPooled) {
        V::store_pooled(value, out + (quad * 4 + o) * plane, units);
      } else {
        V::store(value, out + (quad * 4 + o) * plane, units);
      }
    }
  }
}

// G vectors of units, with kWindow values to take the largest of for each (1 without a pool).
template <class V, bool kSigned, int G, int kWindow>
MNISTKIT_INLINE void tile(const Step& step, const Op& op, const std::byte* in, std::byte* out,
                          std::byte* sums, const Unit* const (&units)[G * V::kUnits],
                          std::uint32_t quad) {
  // Where a whole window would not fit into the registers, its values come in several passes.
  constexpr int kPass = G * kWindow <= V::kVectors ? kWindow : V::kVectors / G;
  const std::size_t pixel = std::size_t{4} * V::kImages, row_below = pixel * step.in.pitch;
  const std::size_t window[4] = {0, kWindow == 2 ? row_below : pixel, row_below, row_below + pixel};
  const std::size_t row = std::size_t{4} * step.taps;
  const std::uint32_t quads = op.padded_out() / 4;
  for (; quad < quads; ++quad) {
    typename V::Acc best[G][4];
    MNISTKIT_UNROLL
    for (int first = 0; first < kWindow; first += kPass) {
      typename V::Acc acc[G * kPass][4];
      const std::byte* at[G * kPass * V::kUnits];
      MNISTKIT_UNROLL
      for (int n = 0; n < G * kPass; ++n) {
        MNISTKIT_UNROLL
        for (int u = 0; u < V::kUnits; ++u) {
          at[n * V::kUnits + u] =
              in + units[n / kPass * V::kUnits + u]->in + window[first + n % kPass];
        }
        MNISTKIT_UNROLL
        for (int o = 0; o < 4; ++o) acc[n][o] = V::start(step.bias + (quad * 4 + o) * 4);
      }
      accumulate<V, kSigned, G * kPass, 4>(step, at, op.weights + quad * 4 * row, row, acc);
      MNISTKIT_UNROLL
      for (int n = 0; n < G * kPass; ++n) {
        MNISTKIT_UNROLL
        for (int o = 0; o < 4; ++o) {
          auto& kept = best[n / kPass][o];
          kept = first + n % kPass == 0 ? acc[n][o] : V::larger(kept, acc[n][o]);
        }
      }
    }
    MNISTKIT_UNROLL
    for (int g = 0; g < G; ++g)
      finish<V, (kWindow > 1)>(step, op, best[g], quad, out, sums, units + g * V::kUnits);
  }
}

// A unit alone, neither pooled nor summed: one vector by eight output channels, since four
// accumulators would leave the multipliers waiting. Returns how many fours of channels are done.
template <class V, bool kSigned>
MNISTKIT_INLINE std::uint32_t one_unit(const Step& step, const Op& op, const std::byte* in,
                                       std::byte* out, const Unit* unit) {
  static_assert(V::kUnits == 1);
  constexpr int kQuads = 2;
  const std::byte* const at[1] = {in + unit->in};
  const std::size_t row = std::size_t{4} * step.taps;
  const std::uint32_t quads = op.padded_out() / 4;
  std::uint32_t quad = 0;
  for (; quad + kQuads <= quads; quad += kQuads) {
    typename V::Acc acc[1][kQuads * 4];
    MNISTKIT_UNROLL
    for (int o = 0; o < kQuads * 4; ++o) {
      acc[0][o] = V::start(step.bias + (quad * 4 + static_cast<std::uint32_t>(o)) * 4);
    }
    accumulate<V, kSigned, 1, kQuads * 4>(step, at, op.weights + quad * 4 * row, row, acc);
    MNISTKIT_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      typename V::Acc four[4];
      MNISTKIT_UNROLL
      for (int o = 0; o < 4; ++o) four[o] = acc[0][q * 4 + o];
      finish<V, false, false>(step, op, four, quad + static_cast<std::uint32_t>(q), out, nullptr,
                              &unit);
    }
  }
  return quad;
}

template <class V, bool kSigned, int G, int kWindow>
void tiles(const Step& shared, const std::byte* in, std::byte* out, std::byte* sums,
           std::uint32_t unit) {
  const Step step = shared;  // a copy that no stored byte can be thought to change
  const Op op = *shared.op;
  constexpr std::uint32_t kStride = G * V::kUnits;
  for (; unit + (G > 1 ? kStride : 1) <= step.unit_count; unit += kStride) {
    const Unit* units[kStride];
    MNISTKIT_UNROLL
    for (std::uint32_t u = 0; u < kStride; ++u) units[u] = unit_at(step, unit + u);
    std::uint32_t quad = 0;
    if constexpr (G == 1 && kWindow == 1 && requires { typename V::Half; }) {
      if (unit + 1 == step.unit_count && !step.sums) {
        quad = one_unit<typename V::Half, kSigned>(step, op, in, out, units[0]);
      }
    }
    tile<V, kSigned, G, kWindow>(step, op, in, out, sums, units, quad);
  }
  if constexpr (G > 1) tiles<V, kSigned, G / 2, kWindow>(step, in, out, sums, unit);
}

template <class V, bool kSigned>
void conv(const Step& step, const std::byte* in, std::byte* out, std::byte* sums) {
  constexpr int kWindow = V::kPixels > 1 ? 2 : 4;
  constexpr int kPooled = V::kVectors > kWindow ? V::kVectors / kWindow : 1;
  if (step.pooled) {
    tiles<V, kSigned, kPooled, kWindow>(step, in, out, sums, 0);
  } else {
    tiles<V, kSigned, V::kVectors, 1>(step, in, out, sums, 0);
  }
}

}  // namespace
}  // namespace mnistkit::engine
