// Runs a plan, step by step, with the vector type V.
#pragma once

#include <cstring>

#include "conv.hpp"
#include "depthwise.hpp"
#include "elements.hpp"
#include "general.hpp"
#include "kernel_set.hpp"
#include "windows.hpp"

namespace mnistkit::engine {
namespace {

template <class V, bool kSigned>
void run_vectors(const Step& step, const std::byte* in, std::byte* out, std::byte* sums) {
  if (step.kind == StepKind::conv) {
    conv<V, kSigned>(step, in, out, sums);
  } else if constexpr (V::kInt8) {
    depthwise_int8<V, kSigned>(step, in, out);
  } else {
    depthwise_fp32<V>(step, in, out);
  }
}

// kOffsetBias: the set multiplies unsigned bytes, and the bias makes up for signed maps.
template <class V, bool kOffsetBias>
void run_step(const Plan& plan, const Step& step, const std::byte* in, std::byte* out,
              std::byte* sums) {
  if (step.sums) std::memset(sums, 0, std::size_t{4} * step.op->padded_out() * V::kImages);
  if (step.kind != StepKind::conv && step.kind != StepKind::depthwise) {
    run_general(plan, step, in, out, sums);
  } else if (V::kInt8 && !kOffsetBias && step.in.is_signed) {
    run_vectors<V, V::kInt8 && !kOffsetBias>(step, in, out, sums);
  } else {
    run_vectors<V, false>(step, in, out, sums);
  }
  if (!step.sums) fill_border(plan, step.out, out);
}

template <class V>
void run_input(const Plan& plan, const Step& step, const std::uint8_t* images, std::size_t count,
               std::byte* out) {
  if (step.kind == StepKind::windows) {
    if constexpr (requires { &V::expand; }) {
      return windows_of_pixels<V>(step.out, images, out);
    } else if constexpr (requires { &V::pixels; }) {
      return windows_of_images<V>(step.out, images, count, out);
    }
  }
  read_input(plan, step, images, count, out);
}

template <class V, bool kOffsetBias>
void run(const Plan& plan, const std::uint8_t* images, std::size_t count, std::byte* scratch,
         float* out) {
  std::byte* sums = scratch + plan.sums;
  for (std::uint32_t i = 0; i < plan.step_count; ++i) {
    const Step& step = plan.steps[i];
    std::byte* to = scratch + step.out.offset;
    if (step.kind == StepKind::windows || step.kind == StepKind::input) {
      run_input<V>(plan, step, images, count, to);
    } else if (step.kind == StepKind::logits) {
      write_logits(plan, step, sums, count, out);
    } else {
      run_step<V, kOffsetBias>(plan, step, scratch + step.in.offset, to, sums);
    }
  }
}

template <class V, bool kOffsetBias = false>
constexpr Path path() {
  return {{V::kPixels, V::kImages, kOffsetBias}, run<V, kOffsetBias>};
}

}  // namespace
}  // namespace mnistkit::engine
