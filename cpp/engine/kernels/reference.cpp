#include "reference.hpp"

#include <cstring>
#include <type_traits>

#include "../exact.hpp"

namespace mnistkit::engine {
namespace {

// Maps are planar, [channel][y][x], each value an int32 or a float32.

// round(value), ties to even, for a value of -129 to 128. Unlike the kernels it compares with the
// integers around: a float between two of them is as far from either as its difference says.
std::int32_t round_even(float value) {
  std::int32_t down = static_cast<std::int32_t>(value);
  if (static_cast<float>(down) > value) --down;
  const float fraction = value - static_cast<float>(down);
  if (fraction != 0.5f) return fraction < 0.5f ? down : down + 1;
  return down % 2 == 0 ? down : down + 1;
}

std::int32_t requantize(std::int32_t acc, float multiplier, std::int32_t low) {
  const float value = stored(scaled(acc, multiplier));
  if (value <= static_cast<float>(low)) return low;
  return value >= 127.0f ? 127 : round_even(value);
}

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The weight of output channel o, channel i of its group, at (y, x) of the kernel.
template <class T>
T weight(const Op& op, std::uint32_t o, std::uint32_t i, std::uint32_t y, std::uint32_t x) {
  const std::uint32_t depth = op.group_in();
  if constexpr (std::is_floating_point_v<T>) {
    const std::size_t row = op.row_steps(Precision::fp32);
    return load<T>(op.weights + (o * row + (y * op.kernel + x) * depth + i) * 4);
  }
  const std::size_t row = std::size_t{op.row_steps(Precision::int8)} * 4;
  const std::size_t at =
      depth == 1 ? y * round_up(op.kernel, 4) + x : (y * op.kernel + x) * round_up(depth, 4) + i;
  return static_cast<T>(static_cast<signed char>(op.weights[o * row + at]));
}

template <class T>
T accumulate(const Op& op, const T* in, std::uint32_t o, std::uint32_t y, std::uint32_t x) {
  const std::uint32_t first = o / (op.out.channels / op.groups) * op.group_in();
  T acc = load<T>(op.bias + std::size_t{o} * 4);
  for (std::uint32_t i = 0; i < op.group_in(); ++i) {
    for (std::uint32_t ky = 0; ky < op.kernel; ++ky) {
      for (std::uint32_t kx = 0; kx < op.kernel; ++kx) {
        const std::uint32_t at_y = y * op.stride + ky, at_x = x * op.stride + kx;
        const bool inside = at_y >= op.padding && at_y < op.in.height + op.padding &&
                            at_x >= op.padding && at_x < op.in.width + op.padding;
        if (!inside) continue;
        const std::size_t row = std::size_t{first + i} * op.in.height + (at_y - op.padding);
        acc += weight<T>(op, o, i, ky, kx) * in[row * op.in.width + (at_x - op.padding)];
      }
    }
  }
  return acc;
}

template <class T>
void conv(const Op& op, const T* in, T* out) {
  for (std::uint32_t o = 0; o < op.out.channels; ++o) {
    for (std::uint32_t y = 0; y < op.out.height; ++y) {
      for (std::uint32_t x = 0; x < op.out.width; ++x) {
        T value = accumulate(op, in, o, y, x);
        if constexpr (std::is_floating_point_v<T>) {
          if (op.relu && value < 0) value = 0;
        } else if (!op.last) {
          value = requantize(value, op.multiplier[o], op.relu ? 0 : -128);
        }
        *out++ = value;
      }
    }
  }
}

template <class T>
void max_pool(const Op& op, const T* in, T* out) {
  for (std::uint32_t c = 0; c < op.out.channels; ++c, in += op.in.pixels()) {
    for (std::uint32_t y = 0; y < op.out.height; ++y) {
      for (std::uint32_t x = 0; x < op.out.width; ++x) {
        T largest = in[y * op.kernel * op.in.width + x * op.kernel];
        for (std::uint32_t i = 0; i < op.kernel * op.kernel; ++i) {
          const std::uint32_t at_y = y * op.kernel + i / op.kernel;
          const T value = in[at_y * op.in.width + x * op.kernel + i % op.kernel];
          if (value > largest) largest = value;
        }
        *out++ = largest;
      }
    }
  }
}

// Integers stay sums where the average follows the last convolution: the logits' scale holds the
// division then.
template <class T>
void avg_pool(const Op& op, const T* in, T* out, bool sums) {
  for (std::uint32_t c = 0; c < op.in.channels; ++c, in += op.in.pixels()) {
    T sum = 0;
    for (std::uint32_t i = 0; i < op.in.pixels(); ++i) sum += in[i];
    if constexpr (std::is_floating_point_v<T>) {
      *out++ = sum * op.pool_multiplier;
    } else {
      *out++ = sums ? sum : requantize(sum, op.pool_multiplier, -128);
    }
  }
}

std::size_t largest_map(const Model& model) {
  std::size_t values = kImageBytes;
  for (std::uint32_t i = 0; i < model.op_count; ++i) {
    const Shape& shape = model.ops[i].out;
    const std::size_t size = std::size_t{shape.channels} * shape.pixels();
    if (size > values) values = size;
  }
  return values;
}

template <class T>
void run_as(const Model& model, const std::uint8_t* image, std::byte* scratch, float* logits) {
  T* in = reinterpret_cast<T*>(scratch);
  T* out = in + largest_map(model);
  for (std::uint32_t i = 0; i < kImageBytes; ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      in[i] = static_cast<T>(image[i]) * (1.0f / 255.0f);
    } else {
      in[i] = (254 * image[i] + 255) / 510;
    }
  }
  const Op* last = nullptr;
  float pool_multiplier = 1.0f;
  for (std::uint32_t i = 0; i < model.op_count; ++i) {
    const Op& op = model.ops[i];
    if (op.kind == OpKind::conv) {
      conv(op, in, out);
    } else if (op.kind == OpKind::max_pool) {
      max_pool(op, in, out);
    } else {
      avg_pool(op, in, out, last != nullptr);
      if (last) pool_multiplier = op.pool_multiplier;
    }
    if (op.last) last = &op;
    T* const swap = in;
    in = out;
    out = swap;
  }
  for (std::uint32_t i = 0; i < kClasses; ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      logits[i] = in[i];
    } else {
      logits[i] = scaled(in[i], stored(last->multiplier[i] * pool_multiplier));
    }
  }
}

}  // namespace

std::size_t reference_scratch_size(const Model& model) { return largest_map(model) * 8; }

void run_reference(const Model& model, const std::uint8_t* image, std::byte* scratch,
                   float* logits) {
  if (model.precision == Precision::int8) {
    run_as<std::int32_t>(model, image, scratch, logits);
  } else {
    run_as<float>(model, image, scratch, logits);
  }
}

constinit const KernelSet kReference = {"reference", "the specification, slow", [] { return true; },
                                        nullptr, nullptr};

}  // namespace mnistkit::engine
