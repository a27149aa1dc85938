// NEON kernels, with and without the dot product of Armv8.2: `Dot` multiplies, the rest is the
// same.
#pragma once

#include <arm_neon.h>

#include "peak.hpp"
#include "run.hpp"

namespace mnistkit::engine {
namespace {

struct FourLanes {
  static constexpr int kUnits = 1;

  static void put_all(uint32x4_t value, std::byte* plane, const Unit* const* units) {
    vst1q_u32(reinterpret_cast<std::uint32_t*>(plane + units[0]->out), value);
  }
};

// Four lanes are one unit of four pixels.
struct Pixels : FourLanes {
  static constexpr std::uint32_t kPixels = 4, kImages = 1;

  // Lanes 0 and 2 hold the pooled outputs.
  static void put_even(uint32x4_t value, std::byte* plane, const Unit* const* units) {
    vst1_u32(reinterpret_cast<std::uint32_t*>(plane + units[0]->out),
             vget_low_u32(vuzp1q_u32(value, value)));
  }
  static uint32x4_t neighbour(uint32x4_t value) {
    return vreinterpretq_u32_u64(vshrq_n_u64(vreinterpretq_u64_u32(value), 32));
  }
  // The windows of four pixels, from the bytes of a row.
  static void expand(const std::uint8_t* row, std::byte* to) {
    static constexpr std::uint8_t kOrder[16] = {0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6};
    vst1q_u8(reinterpret_cast<std::uint8_t*>(to), vqtbl1q_u8(vld1q_u8(row), vld1q_u8(kOrder)));
  }
};

// Four lanes are the same pixel of four images.
struct Images : FourLanes {
  static constexpr std::uint32_t kPixels = 1, kImages = 4;

  static void put_even(uint32x4_t value, std::byte* plane, const Unit* const* units) {
    put_all(value, plane, units);
  }
};

// Adds the lanes of `values` that hold an output to channel sums of type T.
template <class Lanes, class T>
MNISTKIT_INLINE void add_lanes(std::byte* sums, std::uint32_t channel, const T (&values)[4],
                               const Unit* const* units) {
  std::byte* sum = sums + channel * 4 * Lanes::kImages;
  for (std::uint32_t lane = 0; lane < 4; ++lane) {
    std::byte* at = sum + (Lanes::kImages > 1 ? lane * 4 : 0);
    if (Lanes::kImages > 1 || (units[0]->mask >> lane & 1) != 0) {
      put(at, static_cast<T>(get<T>(at) + values[lane]));
    }
  }
}

template <class Lanes, class Dot>
struct Int8 : Lanes {
  static constexpr bool kInt8 = true;
  static constexpr int kVectors = 4;
  using Reg = uint8x16_t;
  using Acc = int32x4_t;
  using Weight = int8x16_t;

  template <bool kSigned>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    const Reg value = vld1q_u8(reinterpret_cast<const std::uint8_t*>(at[0] + offset));
    return kSigned ? veorq_u8(value, vdupq_n_u8(0x80)) : value;
  }
  static Weight weight(const std::byte* at) {
    return vreinterpretq_s8_u32(vdupq_n_u32(get<std::uint32_t>(at)));
  }
  static Acc start(const std::byte* bias) { return vdupq_n_s32(get<std::int32_t>(bias)); }
  static Acc larger(Acc a, Acc b) { return vmaxq_s32(a, b); }
  template <bool>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc = Dot::add(acc, vreinterpretq_s8_u8(value), weight);
  }
  static int32x4_t scale(Acc acc, float32x4_t multiplier) {
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), multiplier));
  }
  // Saturates to bytes, the parts' lanes a b c d side by side.
  template <bool kSignedOut>
  static uint8x16_t saturate(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
    const int16x8_t ab = vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
    const int16x8_t cd = vcombine_s16(vqmovn_s32(c), vqmovn_s32(d));
    if constexpr (kSignedOut) {
      const int8x16_t bytes = vcombine_s8(vqmovn_s16(ab), vqmovn_s16(cd));
      return veorq_u8(vreinterpretq_u8_s8(bytes), vdupq_n_u8(0x80));
    } else {
      const uint8x16_t bytes = vcombine_u8(vqmovun_s16(ab), vqmovun_s16(cd));
      return vminq_u8(bytes, vdupq_n_u8(127));
    }
  }
  template <bool kSignedOut>
  static Reg pack(const Acc (&acc)[4], const float* multiplier) {
    static constexpr std::uint8_t kTranspose[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                                    2, 6, 10, 14, 3, 7, 11, 15};
    int32x4_t q[4];
    MNISTKIT_UNROLL
    for (int o = 0; o < 4; ++o) q[o] = scale(acc[o], vdupq_n_f32(multiplier[o]));
    return vqtbl1q_u8(saturate<kSignedOut>(q[0], q[1], q[2], q[3]), vld1q_u8(kTranspose));
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    Lanes::put_all(vreinterpretq_u32_u8(value), plane, units);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    if constexpr (Lanes::kPixels > 1) {
      const uint32x4_t next = Lanes::neighbour(vreinterpretq_u32_u8(value));
      value = vmaxq_u8(value, vreinterpretq_u8_u32(next));
    }
    Lanes::put_even(vreinterpretq_u32_u8(value), plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const* units) {
    std::int32_t values[4];
    vst1q_s32(values, acc);
    add_lanes<Lanes>(sums, channel, values, units);
  }

  // Depthwise: lanes are the four channels of one pixel or image.
  static Reg zero() { return vdupq_n_u8(0); }
  static void start_channels(Acc (&acc)[4], const std::byte* bias) {
    for (Acc& a : acc) a = vld1q_s32(reinterpret_cast<const std::int32_t*>(bias));
  }
  template <bool kSigned>
  static void mac_channels(Acc (&acc)[4], const Reg (&value)[4], const std::byte* weights) {
    const Weight weight = vld1q_s8(reinterpret_cast<const std::int8_t*>(weights));
    const auto wide = [](uint8x16_t v) { return vreinterpretq_u16_u8(v); };
    const auto bytes = [](uint16x8_t v) { return vreinterpretq_u8_u16(v); };
    const uint16x8_t a = wide(vzip1q_u8(value[0], value[1]));
    const uint16x8_t b = wide(vzip2q_u8(value[0], value[1]));
    const uint16x8_t c = wide(vzip1q_u8(value[2], value[3]));
    const uint16x8_t d = wide(vzip2q_u8(value[2], value[3]));
    mac<kSigned>(acc[0], bytes(vzip1q_u16(a, c)), weight);
    mac<kSigned>(acc[1], bytes(vzip2q_u16(a, c)), weight);
    mac<kSigned>(acc[2], bytes(vzip1q_u16(b, d)), weight);
    mac<kSigned>(acc[3], bytes(vzip2q_u16(b, d)), weight);
  }
  template <bool kSignedOut>
  static Reg pack_channels(const Acc (&acc)[4], const float* multiplier) {
    const float32x4_t m = vld1q_f32(multiplier);
    return saturate<kSignedOut>(scale(acc[0], m), scale(acc[1], m), scale(acc[2], m),
                                scale(acc[3], m));
  }
};

template <class Lanes>
struct Fp32 : Lanes {
  static constexpr bool kInt8 = false;
  static constexpr int kVectors = 4;
  using Reg = float32x4_t;
  using Acc = float32x4_t;
  using Weight = float32x4_t;

  template <bool>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    return vld1q_f32(reinterpret_cast<const float*>(at[0] + offset));
  }
  static Weight weight(const std::byte* at) { return vdupq_n_f32(get<float>(at)); }
  static Acc start(const std::byte* bias) { return weight(bias); }
  static Acc larger(Acc a, Acc b) { return vmaxq_f32(a, b); }
  static Acc relu(Acc a) { return vmaxq_f32(a, vdupq_n_f32(0)); }
  template <bool>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc = vfmaq_f32(acc, value, weight);
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    Lanes::put_all(vreinterpretq_u32_f32(value), plane, units);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    if constexpr (Lanes::kPixels > 1) {
      value = larger(value, vreinterpretq_f32_u32(Lanes::neighbour(vreinterpretq_u32_f32(value))));
    }
    Lanes::put_even(vreinterpretq_u32_f32(value), plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const* units) {
    float values[4];
    vst1q_f32(values, acc);
    add_lanes<Lanes>(sums, channel, values, units);
  }
};

}  // namespace
}  // namespace mnistkit::engine
