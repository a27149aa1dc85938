// An open engine, and how it runs images on one thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_set.hpp"
#include "mnistkit/engine.h"
#include "plan.hpp"

struct mnistkit_engine {
  mnistkit::engine::Model model;
  const mnistkit::engine::KernelSet* kernels;
  // Null for the reference; the same where a set knows one way only.
  mnistkit::engine::Plan *single, *batch;
  const mnistkit::engine::Path *single_path, *batch_path;
  std::size_t scratch_size;
  void* owned;  // the bytes of a file that this engine has read
};

namespace mnistkit::engine {

// The first byte of a scratch that is aligned so.
std::byte* aligned(void* scratch, std::size_t align);

// What all runs refuse: null pointers, less than `wanted` bytes of scratch.
mnistkit_engine_status check_run(const mnistkit_engine* engine, const std::uint8_t* images,
                                 const float* logits, const void* scratch, std::size_t wanted,
                                 std::size_t scratch_size);

// `scratch` is aligned to kScratchAlign.
void run_images(const mnistkit_engine& engine, const std::uint8_t* images, std::size_t n,
                float* logits, std::byte* scratch);

}  // namespace mnistkit::engine
