// The core's peak: a loop of nothing but the multiply-adds of the vector type V, on registers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "registers.hpp"

namespace mnistkit::engine {
namespace {

// Runs `steps` steps of a tile's accumulators and returns the number of multiply-adds.
template <class V>
std::uint64_t peak(std::uint64_t steps) {
  constexpr int kLanes = sizeof(typename V::Reg) / 4, kDepth = V::kInt8 ? 4 : 1;
  alignas(64) static constexpr std::byte zeros[sizeof(typename V::Reg)] = {};
  typename V::Reg value[V::kVectors];
  typename V::Weight weight[4];
  typename V::Acc acc[V::kVectors][4];
  MNISTKIT_UNROLL
  for (int n = 0; n < V::kVectors; ++n) {
    const std::byte* at[2] = {zeros, zeros};
    value[n] = V::template load<false>(at, 0);
    MNISTKIT_UNROLL
    for (int o = 0; o < 4; ++o) {
      weight[o] = V::weight(zeros);
      renew(weight[o]);
      acc[n][o] = V::start(zeros);
      renew(acc[n][o]);
    }
  }
  for (std::uint64_t step = 0; step < steps; ++step) {
    MNISTKIT_UNROLL
    for (int n = 0; n < V::kVectors; ++n) {
      renew(value[n]);
      MNISTKIT_UNROLL
      for (int o = 0; o < 4; ++o) {
        V::template mac<false>(acc[n][o], value[n], weight[o]);
        renew(acc[n][o]);
      }
    }
  }
  return steps * V::kVectors * 4 * kLanes * kDepth;
}

}  // namespace
}  // namespace mnistkit::engine
