// A kernel set: the code for one instruction set, and how it wants a net laid out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../plan.hpp"

namespace mnistkit::engine {

// Runs a plan on `count` images, 1 to lanes.images of them. `scratch` is aligned to 64 bytes.
struct Path {
  Lanes lanes;
  void (*run)(const Plan& plan, const std::uint8_t* images, std::size_t count, std::byte* scratch,
              float* logits);
};

// What runs one image, and what runs many at once; the same where a set knows one way only.
struct Paths {
  Path single, batch;
  // Does that many steps of the kernels' multiply-adds and nothing else, and returns their number;
  // null where nobody would ask.
  std::uint64_t (*peak)(std::uint64_t steps);
};

struct KernelSet {
  const char* name;
  const char* description;
  bool (*supported)();
  const Paths *int8, *fp32;  // null for the reference
};

// Whether the compiler may use vector registers of 128 bits everywhere. Where it may not, it makes
// scalar code of the set `vector128`, which is then slower than `portable`.
#if defined(__SSE2__) || defined(__ARM_NEON) || defined(__ALTIVEC__) || defined(__VX__) || \
    defined(__mips_msa) || defined(__loongarch_sx) || defined(__riscv_vector) ||           \
    defined(__wasm_simd128__)
#define MNISTKIT_VECTOR_REGISTERS 1
#else
#define MNISTKIT_VECTOR_REGISTERS 0
#endif

// Fastest first; the last is the plain reference, see reference.hpp.
const KernelSet* const* kernel_sets(std::size_t& count);

// The set of that name; for null or "" the one named by $MNISTKIT_KERNELS, else the fastest that
// this CPU supports. Null, with what is wrong in `error`, where it is unknown or not supported.
const KernelSet* choose_kernels(const char* name, const char** error);

}  // namespace mnistkit::engine
