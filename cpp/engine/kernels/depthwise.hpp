// The depthwise convolution as a template over a vector type V (see conv.hpp).
#pragma once

#include <cstring>

#include "../plan.hpp"
#include "conv.hpp"
#include "registers.hpp"

namespace mnistkit::engine {
namespace {

// int8: an element holds four channels, which must not be added up. Four taps of a row are
// transposed, byte by byte, so that a step multiplies the four taps of one channel.
template <class V, bool kSigned>
void depthwise_int8(const Step& step, const std::byte* in, std::byte* out) {
  const Op& op = *step.op;
  const std::uint32_t fours = (op.kernel + 3) / 4, row = op.kernel * fours * 4;
  const std::size_t element = std::size_t{4} * V::kImages;
  for (std::uint32_t plane = 0; plane < step.in.planes; ++plane) {
    alignas(16) std::byte weights[31 * 8][16];  // of the four channels, for each step
    for (std::uint32_t i = 0; i < op.kernel * fours; ++i) {
      for (std::uint32_t c = 0; c < 4; ++c) {
        std::memcpy(&weights[i][c * 4], op.weights + (plane * 4 + c) * row + i * 4, 4);
      }
    }
    const std::byte* from = in + plane * element * step.in.plane;
    std::byte* to = out + plane * element * step.out.plane;
    for (std::uint32_t unit = 0; unit < step.unit_count;
         unit += static_cast<std::uint32_t>(V::kUnits)) {
      const Unit* units[V::kUnits];
      const std::byte* at[V::kUnits];
      for (int u = 0; u < V::kUnits; ++u) {
        units[u] = unit_at(step, unit + static_cast<std::uint32_t>(u));
        at[u] = from + units[u]->in;
      }
      typename V::Acc acc[4];
      V::start_channels(acc, step.bias + plane * 16);
      const std::uint32_t* tap = step.tap;
      for (std::uint32_t y = 0; y < op.kernel; ++y) {
        for (std::uint32_t four = 0; four < fours; ++four) {
          typename V::Reg value[4];
          MNISTKIT_UNROLL
          for (std::uint32_t x = 0; x < 4; ++x) {
            value[x] = four * 4 + x < op.kernel ? V::template load<kSigned>(at, *tap++) : V::zero();
          }
          V::template mac_channels<kSigned>(acc, value, weights[y * fours + four]);
        }
      }
      const float* multiplier = op.multiplier + plane * 4;
      V::store(step.out.is_signed ? V::template pack_channels<true>(acc, multiplier)
                                  : V::template pack_channels<false>(acc, multiplier),
               to, units);
    }
  }
}

template <class V>
void depthwise_fp32(const Step& step, const std::byte* in, std::byte* out) {
  const Op& op = *step.op;
  const std::size_t element = std::size_t{4} * V::kImages;
  for (std::uint32_t c = 0; c < op.in.channels; ++c) {
    const std::byte* weights = op.weights + std::size_t{c} * step.taps * 4;
    const std::byte* from = in + c * element * step.in.plane;
    std::byte* to = out + c * element * step.out.plane;
    for (std::uint32_t unit = 0; unit < step.unit_count;
         unit += static_cast<std::uint32_t>(V::kUnits)) {
      const Unit* units[V::kUnits];
      const std::byte* at[V::kUnits];
      for (int u = 0; u < V::kUnits; ++u) {
        units[u] = unit_at(step, unit + static_cast<std::uint32_t>(u));
        at[u] = from + units[u]->in;
      }
      auto acc = V::start(step.bias + c * 4);
      for (std::uint32_t t = 0; t < step.taps; ++t) {
        V::template mac<false>(acc, V::template load<false>(at, step.tap[t]),
                               V::weight(weights + t * 4));
      }
      V::store(op.relu ? V::relu(acc) : acc, to, units);
    }
  }
}

}  // namespace
}  // namespace mnistkit::engine
