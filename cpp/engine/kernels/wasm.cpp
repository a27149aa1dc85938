// WebAssembly's vectors. A module cannot ask what its host knows, so the compiler's flags choose:
// -msimd128 makes the set `wasm-simd`, -mrelaxed-simd `wasm-relaxed-simd` too, neither nothing.
#if defined(__wasm_simd128__)

#include <wasm_simd128.h>

#include "bits128.hpp"

namespace mnistkit::engine {
namespace {

using bits128::Int4, bits128::Real4, bits128::Word4;

// The bytes of each half of 16 bits, the lower ones and the upper ones, widened.
MNISTKIT_INLINE v128_t lower(v128_t bytes) { return wasm_i16x8_shr(wasm_i16x8_shl(bytes, 8), 8); }
MNISTKIT_INLINE v128_t upper(v128_t bytes) { return wasm_i16x8_shr(bytes, 8); }

template <class Machine>
struct Wasm : bits128::Shuffles<Machine> {
  struct Weight {
    v128_t bytes, lower, upper;
  };
  MNISTKIT_INLINE static Weight weight(Word4 word) {
    const auto bytes = reinterpret_cast<v128_t>(word);
    return {bytes, engine::lower(bytes), engine::upper(bytes)};
  }
  MNISTKIT_INLINE static Int4 add_widened(Int4 acc, Word4 word, Weight weight) {
    const auto bytes = reinterpret_cast<v128_t>(word);  // 0..127, or signed
    const v128_t sum = wasm_i32x4_add(wasm_i32x4_dot_i16x8(engine::lower(bytes), weight.lower),
                                      wasm_i32x4_dot_i16x8(engine::upper(bytes), weight.upper));
    return acc + reinterpret_cast<Int4>(sum);
  }
  MNISTKIT_INLINE static Int4 scale(Int4 acc, Real4 multiplier) {
    const v128_t real = wasm_f32x4_convert_i32x4(reinterpret_cast<v128_t>(acc));
    const v128_t scaled = wasm_f32x4_mul(real, reinterpret_cast<v128_t>(multiplier));
    return reinterpret_cast<Int4>(wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(scaled)));
  }
  MNISTKIT_INLINE static v128_t saturate(Int4 a, Int4 b, Int4 c, Int4 d) {
    return wasm_i8x16_narrow_i16x8(
        wasm_i16x8_narrow_i32x4(reinterpret_cast<v128_t>(a), reinterpret_cast<v128_t>(b)),
        wasm_i16x8_narrow_i32x4(reinterpret_cast<v128_t>(c), reinterpret_cast<v128_t>(d)));
  }
};

struct Plain : Wasm<Plain> {
  template <bool kSigned>
  MNISTKIT_INLINE static Int4 add(Int4 acc, Word4 value, Weight weight) {
    return add_widened(acc, value, weight);
  }
};

}  // namespace

static constexpr Path kPath = path<bits128::Int8<Plain>>();
static constexpr Paths kInt8 = {kPath, kPath, nullptr};
extern const Paths kVectorFp32;

extern const KernelSet kWasmSimd;
constinit const KernelSet kWasmSimd = {"wasm-simd", "WebAssembly SIMD", [] { return true; }, &kInt8,
                                       &kVectorFp32};

#if defined(__wasm_relaxed_simd__)
namespace {

// A host may read the activations as signed or unsigned where they have bit 7, and saturate a pair
// of products at 16 bits or not. What is 0..127 has no bit 7, and a pair is at most 2 * 127 * 127,
// so that all hosts agree. Signed maps are multiplied in the plain way.
struct Relaxed : Wasm<Relaxed> {
  template <bool kSigned>
  MNISTKIT_INLINE static Int4 add(Int4 acc, Word4 value, Weight weight) {
    if constexpr (kSigned) return add_widened(acc, value, weight);
    return reinterpret_cast<Int4>(wasm_i32x4_relaxed_dot_i8x16_i7x16_add(
        weight.bytes, reinterpret_cast<v128_t>(value), reinterpret_cast<v128_t>(acc)));
  }
};

}  // namespace

static constexpr Path kRelaxedPath = path<bits128::Int8<Relaxed>>();
static constexpr Paths kRelaxedInt8 = {kRelaxedPath, kRelaxedPath, nullptr};

extern const KernelSet kWasmRelaxedSimd;
constinit const KernelSet kWasmRelaxedSimd = {"wasm-relaxed-simd", "WebAssembly relaxed SIMD",
                                              [] { return true; }, &kRelaxedInt8, &kVectorFp32};
#endif

}  // namespace mnistkit::engine

#endif
