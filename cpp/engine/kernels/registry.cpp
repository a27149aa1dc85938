// Which kernel sets there are, and which of them runs.
#include <cstdlib>
#include <cstring>

#include "kernel_set.hpp"
#include "reference.hpp"

namespace mnistkit::engine {

#if defined(__x86_64__)
extern const KernelSet kAvx512Vnni, kAvxVnni, kAvx2, kSse41;
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
extern const KernelSet kNeonDot, kNeon;
#elif defined(__wasm_simd128__)
extern const KernelSet kWasmRelaxedSimd, kWasmSimd;
#endif
extern const KernelSet kVector128, kPortable;

namespace {

const KernelSet* const kSets[] = {
#if defined(__x86_64__)
    &kAvx512Vnni, &kAvxVnni,  &kAvx2, &kSse41,
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
    &kNeonDot,   &kNeon,
#elif defined(__wasm_relaxed_simd__)
    &kWasmRelaxedSimd,
    &kWasmSimd,
#elif defined(__wasm_simd128__)
    &kWasmSimd,
#endif
#if MNISTKIT_VECTOR_REGISTERS
    &kVector128,  &kPortable,
#else
    &kPortable,  &kVector128,
#endif
    &kReference,
};

}  // namespace

const KernelSet* const* kernel_sets(std::size_t& count) {
  count = sizeof kSets / sizeof *kSets;
  return kSets;
}

const KernelSet* choose_kernels(const char* name, const char** error) {
  if (!name || !*name) name = std::getenv("MNISTKIT_KERNELS");
  const bool any = !name || !*name;
  for (const KernelSet* set : kSets) {
    if (!any && std::strcmp(name, set->name) != 0) continue;
    if (set->supported()) return set;
    if (any) continue;
    *error = "this CPU lacks what these kernels need";
    return nullptr;
  }
  *error = "unknown kernels; mnistkit_engine_kernel_name() lists the known ones";
  return nullptr;
}

}  // namespace mnistkit::engine
