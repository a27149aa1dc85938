// Plain C++: one lane, for any machine.
#include <cstring>

#include "../byte_order.hpp"
#include "run.hpp"

namespace mnistkit::engine {
namespace {

struct OneLane {
  static constexpr int kUnits = 1;
  static constexpr std::uint32_t kPixels = 1, kImages = 1;
  static constexpr int kVectors = 2;
  using Reg = std::uint32_t;
  using Weight = std::uint32_t;

  template <bool>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    return get<Reg>(at[0] + offset);
  }
  static Weight weight(const std::byte* at) { return get<Weight>(at); }
  static Reg zero() { return 0; }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    put(plane + units[0]->out, value);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    store(value, plane, units);
  }
};

struct Int8 : OneLane {
  static constexpr bool kInt8 = true;
  using Acc = std::int32_t;

  static Acc start(const std::byte* bias) { return get<Acc>(bias); }
  static Acc larger(Acc a, Acc b) { return a > b ? a : b; }
  template <bool kSigned>
  static void mac(Acc& acc, Reg value, Weight weight) {
    for (int i = 0; i < 4; ++i) {
      const auto w = static_cast<std::int8_t>(weight >> 8 * i);
      acc += w * (static_cast<std::int32_t>(value >> 8 * i & 0xFF) - (kSigned ? 128 : 0));
    }
  }
  template <bool kSignedOut>
  static Reg pack(const Acc (&acc)[4], const float* multiplier) {
    constexpr std::int32_t kLow = kSignedOut ? -128 : 0;
    Reg packed = 0;
    for (std::uint32_t o = 0; o < 4; ++o) {
      const std::int32_t value = round_clamp(scaled(acc[o], multiplier[o]), kLow);
      packed |= static_cast<Reg>(value + (kSignedOut ? 128 : 0)) << 8 * byte_of_word(o);
    }
    return packed;
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const*) {
    put(sums + channel * 4, static_cast<Acc>(get<Acc>(sums + channel * 4) + acc));
  }

  static void start_channels(Acc (&acc)[4], const std::byte* bias) {
    for (int c = 0; c < 4; ++c) acc[c] = get<Acc>(bias + c * 4);
  }
  template <bool kSigned>
  static void mac_channels(Acc (&acc)[4], const Reg (&value)[4], const std::byte* weights) {
    for (std::uint32_t c = 0; c < 4; ++c) {
      for (std::uint32_t tap = 0; tap < 4; ++tap) {
        const auto w = static_cast<std::int8_t>(weights[c * 4 + tap]);
        const auto byte = static_cast<std::int32_t>(value[tap] >> 8 * byte_of_word(c) & 0xFF);
        acc[c] += w * (byte - (kSigned ? 128 : 0));
      }
    }
  }
  template <bool kSignedOut>
  static Reg pack_channels(const Acc (&acc)[4], const float* multiplier) {
    return pack<kSignedOut>(acc, multiplier);
  }
};

struct Fp32 : OneLane {
  static constexpr bool kInt8 = false;
  using Reg = float;
  using Acc = float;
  using Weight = float;

  template <bool>
  static Reg load(const std::byte* const* at, std::size_t offset) {
    return get<Reg>(at[0] + offset);
  }
  static Weight weight(const std::byte* at) { return get<Weight>(at); }
  static Acc start(const std::byte* bias) { return get<Acc>(bias); }
  static Acc larger(Acc a, Acc b) { return a > b ? a : b; }
  static Acc relu(Acc a) { return a > 0 ? a : 0; }
  template <bool>
  static void mac(Acc& acc, Reg value, Weight weight) {
    acc += value * weight;
  }
  static void store(Reg value, std::byte* plane, const Unit* const* units) {
    put(plane + units[0]->out, value);
  }
  static void store_pooled(Reg value, std::byte* plane, const Unit* const* units) {
    store(value, plane, units);
  }
  static void add_sums(std::byte* sums, std::uint32_t channel, Acc acc, const Unit* const*) {
    put(sums + channel * 4, get<Acc>(sums + channel * 4) + acc);
  }
};

}  // namespace

static constexpr Paths kInt8 = {path<Int8>(), path<Int8>(), nullptr};
static constexpr Paths kFp32 = {path<Fp32>(), path<Fp32>(), nullptr};

extern const KernelSet kPortable;
constinit const KernelSet kPortable = {"portable", "plain C++, any machine", [] { return true; },
                                       &kInt8, &kFp32};

}  // namespace mnistkit::engine
