// 128-bit kernels, for SSE4.1, WebAssembly and whatever GCC and Clang make of their own vectors:
// `Machine` multiplies and requantizes, the rest is the same.
//
// Machine gives: Weight and weight, of a word for each lane; add, which adds the products of four
// bytes in each lane; pack, start_channels, mac_channels and pack_channels (see
// conv.hpp and depthwise.hpp).
#pragma once

#include "../byte_order.hpp"
#include "peak.hpp"
#include "run.hpp"

namespace mnistkit::engine {
namespace {
namespace bits128 {

using Int4 [[gnu::vector_size(16)]] = std::int32_t;
using Word4 [[gnu::vector_size(16)]] = std::uint32_t;
using Real4 [[gnu::vector_size(16)]] = float;
using Bytes16 [[gnu::vector_size(16)]] = std::uint8_t;

// GCC has this from version 12 on.
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
#define MNISTKIT_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MNISTKIT_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, decltype(a){__VA_ARGS__})
#endif

MNISTKIT_INLINE Int4 splat(std::int32_t value) { return Int4{value, value, value, value}; }
MNISTKIT_INLINE Word4 splat(std::uint32_t value) { return Word4{value, value, value, value}; }
MNISTKIT_INLINE Real4 splat(float value) { return Real4{value, value, value, value}; }

// Four lanes are one unit of four pixels. Images side by side would gain 5 to 10 % in batches and
// double the code.
struct Pixels {
  static constexpr int kUnits = 1, kVectors = 2;
  static constexpr std::uint32_t kPixels = 4, kImages = 1;

  MNISTKIT_INLINE static void put_all(Word4 value, std::byte* plane, const Unit* const* units) {
    put(plane + units[0]->out, value);
  }
  // Lanes 0 and 2 hold the pooled outputs.
  MNISTKIT_INLINE static void put_even(Word4 value, std::byte* plane, const Unit* const* units) {
    const Word4 even = MNISTKIT_SHUFFLE(value, value, 0, 2, 0, 2);
    std::memcpy(plane + units[0]->out, &even, 8);
  }
  MNISTKIT_INLINE static Word4 neighbour(Word4 value) {
    return MNISTKIT_SHUFFLE(value, value, 1, 1, 3, 3);
  }
  // The windows of four pixels, from the bytes of a row.
  static void expand(const std::uint8_t* row, std::byte* to) {
    for (int x = 0; x < 4; ++x) std::memcpy(to + x * 4, row + x, 4);
  }
  // Adds the lanes that hold an output to a channel's sum of type T.
  template <class T, class Vector>
  MNISTKIT_INLINE static void add_lanes(std::byte* sum, Vector values, const Unit* const* units) {
    T total = get<T>(sum);
    for (int lane = 0; lane < 4; ++lane) {
      if (units[0]->mask >> lane & 1) total += values[lane];
    }
    put(sum, total);
  }
};

template <class Machine>
struct Int8 : Pixels {
  static constexpr bool kInt8 = true;
  using Reg = Word4;
  using Acc = Int4;
  using Weight = typename Machine::Weight;

  template <bool kSigned>
  MNISTKIT_INLINE static Reg load(const std::byte* const* at, std::size_t offset) {
    const Reg value = get<Reg>(at[0] + offset);
    return kSigned ? value ^ 0x80808080u : value;
  }
  MNISTKIT_INLINE static Weight weight(const std::byte* at) {
    return Machine::weight(splat(get<std::uint32_t>(at)));
  }
  MNISTKIT_INLINE static Acc start(const std::byte* bias) { return splat(get<std::int32_t>(bias)); }
  MNISTKIT_INLINE static Acc larger(Acc a, Acc b) { return a > b ? a : b; }
  template <bool kSigned>
  MNISTKIT_INLINE static void mac(Acc& acc, Reg value, Weight weight) {
    acc = Machine::template add<kSigned>(acc, value, weight);
  }
  template <bool kSignedOut>
  MNISTKIT_INLINE static Reg pack(const Acc (&acc)[4], const float* multiplier) {
    return Machine::template pack<kSignedOut>(acc, multiplier);
  }
  MNISTKIT_INLINE static void store(Reg value, std::byte* plane, const Unit* const* units) {
    put_all(value, plane, units);
  }
  MNISTKIT_INLINE static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    const auto a = reinterpret_cast<Bytes16>(value),
               b = reinterpret_cast<Bytes16>(neighbour(value));
    put_even(reinterpret_cast<Reg>(a > b ? a : b), plane, units);
  }
  MNISTKIT_INLINE static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc,
                                       const Unit* const* units) {
    add_lanes<std::int32_t>(sums + channel * 4, acc, units);
  }

  MNISTKIT_INLINE static Reg zero() { return Reg{}; }
  MNISTKIT_INLINE static void start_channels(Acc (&acc)[4], const std::byte* bias) {
    Machine::start_channels(acc, bias);
  }
  template <bool kSigned>
  MNISTKIT_INLINE static void mac_channels(Acc (&acc)[4], const Reg (&value)[4],
                                           const std::byte* weights) {
    Machine::template mac_channels<kSigned>(acc, value, weights);
  }
  template <bool kSignedOut>
  MNISTKIT_INLINE static Reg pack_channels(const Acc (&acc)[4], const float* multiplier) {
    return Machine::template pack_channels<kSignedOut>(acc, multiplier);
  }
};

struct Fp32 : Pixels {
  static constexpr bool kInt8 = false;
  using Reg = Real4;
  using Acc = Real4;
  using Weight = Real4;

  template <bool>
  MNISTKIT_INLINE static Reg load(const std::byte* const* at, std::size_t offset) {
    return get<Reg>(at[0] + offset);
  }
  MNISTKIT_INLINE static Weight weight(const std::byte* at) { return splat(get<float>(at)); }
  MNISTKIT_INLINE static Acc start(const std::byte* bias) { return weight(bias); }
  MNISTKIT_INLINE static Acc larger(Acc a, Acc b) { return a > b ? a : b; }
  MNISTKIT_INLINE static Acc relu(Acc a) { return larger(a, Acc{}); }
  template <bool>
  MNISTKIT_INLINE static void mac(Acc& acc, Reg value, Weight weight) {
    acc += value * weight;
  }
  MNISTKIT_INLINE static void store(Reg value, std::byte* plane, const Unit* const* units) {
    put_all(reinterpret_cast<Word4>(value), plane, units);
  }
  MNISTKIT_INLINE static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    const auto next = reinterpret_cast<Reg>(neighbour(reinterpret_cast<Word4>(value)));
    put_even(reinterpret_cast<Word4>(larger(value, next)), plane, units);
  }
  MNISTKIT_INLINE static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc,
                                       const Unit* const* units) {
    add_lanes<float>(sums + channel * 4, acc, units);
  }
};

// What a Machine does by shuffling bytes, where it gives scale, to the nearest integer with ties to
// even, and saturate, which clamps and lays the parts' lanes side by side, as signed bytes.
template <class Machine>
struct Shuffles {
  template <bool kSignedOut>
  MNISTKIT_INLINE static Bytes16 clamp(Int4 a, Int4 b, Int4 c, Int4 d) {
    using Signed16 [[gnu::vector_size(16)]] = std::int8_t;
    const auto bytes = reinterpret_cast<Signed16>(Machine::saturate(a, b, c, d));
    if constexpr (kSignedOut) {
      return reinterpret_cast<Bytes16>(reinterpret_cast<Word4>(bytes) ^ 0x80808080u);
    } else {
      return reinterpret_cast<Bytes16>(bytes > Signed16{} ? bytes : Signed16{});
    }
  }
  template <bool kSignedOut>
  MNISTKIT_INLINE static Word4 pack(const Int4 (&acc)[4], const float* multiplier) {
    Int4 q[4];
    MNISTKIT_UNROLL
    for (int o = 0; o < 4; ++o) q[o] = Machine::scale(acc[o], splat(multiplier[o]));
    const Bytes16 bytes = clamp<kSignedOut>(q[0], q[1], q[2], q[3]);
    return reinterpret_cast<Word4>(
        MNISTKIT_SHUFFLE(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  }

  // Depthwise: lanes are the four channels of one pixel.
  MNISTKIT_INLINE static void start_channels(Int4 (&acc)[4], const std::byte* bias) {
    for (Int4& a : acc) a = get<Int4>(bias);
  }
  template <bool kSigned>
  MNISTKIT_INLINE static void mac_channels(Int4 (&acc)[4], const Word4 (&value)[4],
                                           const std::byte* weights) {
    const auto weight = Machine::weight(get<Word4>(weights));
    const auto low = [](auto a, auto b) {
      const auto x = reinterpret_cast<Bytes16>(a), y = reinterpret_cast<Bytes16>(b);
      return MNISTKIT_SHUFFLE(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    };
    const auto high = [](auto a, auto b) {
      const auto x = reinterpret_cast<Bytes16>(a), y = reinterpret_cast<Bytes16>(b);
      return MNISTKIT_SHUFFLE(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    };
    const auto low_pairs = [](Bytes16 x, Bytes16 y) {
      return reinterpret_cast<Word4>(
          MNISTKIT_SHUFFLE(x, y, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
    };
    const auto high_pairs = [](Bytes16 x, Bytes16 y) {
      return reinterpret_cast<Word4>(
          MNISTKIT_SHUFFLE(x, y, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
    };
    const Bytes16 a = low(value[0], value[1]), b = high(value[0], value[1]);
    const Bytes16 c = low(value[2], value[3]), d = high(value[2], value[3]);
    acc[0] = Machine::template add<kSigned>(acc[0], low_pairs(a, c), weight);
    acc[1] = Machine::template add<kSigned>(acc[1], high_pairs(a, c), weight);
    acc[2] = Machine::template add<kSigned>(acc[2], low_pairs(b, d), weight);
    acc[3] = Machine::template add<kSigned>(acc[3], high_pairs(b, d), weight);
  }
  template <bool kSignedOut>
  MNISTKIT_INLINE static Word4 pack_channels(const Int4 (&acc)[4], const float* multiplier) {
    const auto m = get<Real4>(reinterpret_cast<const std::byte*>(multiplier));
    return reinterpret_cast<Word4>(
        clamp<kSignedOut>(Machine::scale(acc[0], m), Machine::scale(acc[1], m),
                          Machine::scale(acc[2], m), Machine::scale(acc[3], m)));
  }
};

}  // namespace bits128
}  // namespace
}  // namespace mnistkit::engine
