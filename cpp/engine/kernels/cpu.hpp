// What this CPU, and the operating system on it, can run. cpu.cpp is compiled for any CPU of its
// family: a file with kernels is compiled with the very instructions that are in question, and
// must not be entered before.
#pragma once

namespace mnistkit::engine {

#if defined(__x86_64__)
bool cpu_has_sse41();
bool cpu_has_avx2();         // and FMA
bool cpu_has_avx_vnni();     // and these two
bool cpu_has_avx512_vnni();  // and AVX-512 F, BW, VL and DQ
#elif defined(__aarch64__)
bool cpu_has_dot_product();  // Armv8.2's
#endif

}  // namespace mnistkit::engine
