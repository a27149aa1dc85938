// The specification: every other kernel set must give the same int8 logits, to the bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel_set.hpp"

namespace mnistkit::engine {

extern const KernelSet kReference;

std::size_t reference_scratch_size(const Model& model);

// One image, with `scratch` aligned to 4 bytes.
void run_reference(const Model& model, const std::uint8_t* image, std::byte* scratch,
                   float* logits);

}  // namespace mnistkit::engine
