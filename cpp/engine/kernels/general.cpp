#include "general.hpp"

#include <cstring>
#include <type_traits>

#include "../byte_order.hpp"
#include "elements.hpp"

namespace mnistkit::engine {
namespace {

// Most runs are of a word or two, and not worth a call of memset.
void set_bytes(std::byte* to, std::size_t size, std::uint8_t value) {
  if (size > 16) {
    std::memset(to, value, size);
    return;
  }
  const std::uint32_t word = value * 0x01010101u;
  for (std::size_t i = 0; i < size; i += 4) put(to + i, word);
}

void set_border(const Map& map, std::byte* base, std::uint32_t images) {
  if (map.border == 0) return;
  const std::uint8_t value = map.is_signed ? 128 : 0;
  const auto height = static_cast<std::int32_t>(map.shape.height);
  const auto width = static_cast<std::int32_t>(map.shape.width);
  const auto border = static_cast<std::int32_t>(map.border);
  const std::size_t side = std::size_t{4} * images * map.border;
  const std::size_t row = std::size_t{4} * images * map.pitch, edge = row * map.border;
  for (std::uint32_t plane = 0; plane < map.planes; ++plane) {
    set_bytes(element(map, base, images, plane, -border, -border), edge, value);
    std::byte* left = element(map, base, images, plane, 0, -border);
    std::byte* right = element(map, base, images, plane, 0, width);
    for (std::int32_t y = 0; y < height; ++y, left += row, right += row) {
      set_bytes(left, side, value);
      set_bytes(right, side, value);
    }
    set_bytes(element(map, base, images, plane, height, -border), edge, value);
  }
}

// Lane l gets image l, the lanes past the last image the last one again.
const std::uint8_t* lane_image(const std::uint8_t* images, std::size_t count, std::uint32_t lane) {
  return images + (lane < count ? lane : count - 1) * kImageBytes;
}

// int8: a byte x is the integer round(x * 127 / 255), which is x >> 1.
void windows(const Step& step, std::uint32_t lanes, const std::uint8_t* images, std::size_t count,
             std::byte* out) {
  const Map& map = step.out;
  const std::uint32_t border = map.border, height = kSide + 2 * border;
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    const std::uint8_t* image = lane_image(images, count, lane);
    for (std::uint32_t y = 0; y < height; ++y) {
      std::uint8_t row[kSide + 2 * 15 + 4] = {};
      if (y >= border && y < border + kSide) {
        for (std::uint32_t x = 0; x < kSide; ++x) {
          row[border + x] = image[(y - border) * kSide + x] >> 1;
        }
      }
      std::byte* to = out + (std::size_t{y} * map.pitch * lanes + lane) * 4;
      for (std::uint32_t x = 0; x < map.pitch; ++x) std::memcpy(to + x * lanes * 4, row + x, 4);
    }
  }
}

void input(const Step& step, Precision precision, std::uint32_t lanes, const std::uint8_t* images,
           std::size_t count, std::byte* out) {
  constexpr float kInputScale = 1.0f / 255.0f;
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    const std::uint8_t* image = lane_image(images, count, lane);
    for (std::uint32_t y = 0; y < kSide; ++y) {
      std::byte* to = element(step.out, out, lanes, 0, static_cast<std::int32_t>(y), 0) + lane * 4;
      for (std::uint32_t x = 0; x < kSide; ++x) {
        const std::uint8_t value = image[y * kSide + x];
        if (precision == Precision::int8) {
          const auto integer = static_cast<std::uint32_t>(value >> 1);
          put(to + x * lanes * 4, integer << 8 * byte_of_word(0));
        } else {
          put(to + x * lanes * 4, static_cast<float>(value) * kInputScale);
        }
      }
    }
  }
  set_border(step.out, out, lanes);
}

// One channel's value at a pixel of one image, without the offset of signed maps.
struct Reader {
  const Map& map;
  const std::byte* base;
  std::uint32_t images, lane;

  std::int32_t integer(std::uint32_t channel, std::int32_t y, std::int32_t x) const {
    const std::byte* at = element(map, base, images, channel / 4, y, x) + lane * 4 + channel % 4;
    return static_cast<std::int32_t>(*at) - (map.is_signed ? 128 : 0);
  }
  float real(std::uint32_t channel, std::int32_t y, std::int32_t x) const {
    return get<float>(element(map, base, images, channel, y, x) + lane * 4);
  }
};

// One output of a convolution of any shape, the accumulator before requantization.
template <class T>
T accumulate_general(const Op& op, const Reader& from, std::uint32_t o, std::uint32_t y,
                     std::uint32_t x) {
  constexpr bool kInt8 = sizeof(T) == sizeof(std::int32_t) && !std::is_floating_point_v<T>;
  const std::uint32_t depth = op.group_in(), first = o / (op.out.channels / op.groups) * depth;
  const std::uint32_t padded = depth == 1 ? 1 : round_up(depth, 4);
  const std::uint32_t across = depth == 1 ? round_up(op.kernel, 4) : op.kernel;
  const std::byte* weights =
      op.weights +
      std::size_t{o} * (kInt8 ? op.row_steps(Precision::int8) : op.row_steps(Precision::fp32)) * 4;
  T acc = get<T>(op.bias + std::size_t{o} * 4);
  for (std::uint32_t ky = 0; ky < op.kernel; ++ky) {
    for (std::uint32_t kx = 0; kx < op.kernel; ++kx) {
      const auto at_y =
          static_cast<std::int32_t>(y * op.stride + ky) - static_cast<std::int32_t>(op.padding);
      const auto at_x =
          static_cast<std::int32_t>(x * op.stride + kx) - static_cast<std::int32_t>(op.padding);
      for (std::uint32_t i = 0; i < depth; ++i) {
        if constexpr (kInt8) {
          const auto weight = static_cast<signed char>(weights[(ky * across + kx) * padded + i]);
          acc += weight * from.integer(first + i, at_y, at_x);
        } else {
          const auto weight = get<float>(weights + ((ky * op.kernel + kx) * depth + i) * 4);
          acc += weight * from.real(first + i, at_y, at_x);
        }
      }
    }
  }
  return acc;
}

template <class T>
void general_conv(const Step& step, std::uint32_t lanes, const std::byte* in, std::byte* out,
                  std::byte* sums) {
  constexpr bool kInt8 = !std::is_floating_point_v<T>;
  const Op& op = *step.op;
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    const Reader from{step.in, in, lanes, lane};
    for (std::uint32_t o = 0; o < op.padded_out(); ++o) {
      const bool real = o < op.out.channels;
      for (std::uint32_t y = 0; y < op.out.height; ++y) {
        for (std::uint32_t x = 0; x < op.out.width; ++x) {
          const T acc = real ? accumulate_general<T>(op, from, o, y, x) : T{};
          if (step.sums) {
            std::byte* sum = sums + (std::size_t{o} * lanes + lane) * 4;
            put(sum, static_cast<T>(get<T>(sum) + acc));
            continue;
          }
          std::byte* to = element(step.out, out, lanes, kInt8 ? o / 4 : o,
                                  static_cast<std::int32_t>(y), static_cast<std::int32_t>(x)) +
                          lane * 4;
          if constexpr (kInt8) {
            const std::int32_t low = op.relu ? 0 : -128;
            const std::int32_t value = round_clamp(scaled(acc, op.multiplier[o]), low);
            to[o % 4] = static_cast<std::byte>(value + (step.out.is_signed ? 128 : 0));
          } else {
            put(to, op.relu && acc < 0 ? 0.0f : acc);
          }
        }
      }
    }
  }
}

template <class T>
void max_pool(const Step& step, std::uint32_t lanes, const std::byte* in, std::byte* out) {
  constexpr bool kInt8 = !std::is_floating_point_v<T>;
  constexpr std::uint32_t kValues = kInt8 ? 4 : 1;  // in an element
  const Shape shape = step.op->out;
  const auto size = static_cast<std::int32_t>(step.op->kernel);
  const std::size_t count = std::size_t{lanes} * kValues;
  for (std::uint32_t plane = 0; plane < step.in.planes; ++plane) {
    for (std::uint32_t y = 0; y < shape.height; ++y) {
      for (std::uint32_t x = 0; x < shape.width; ++x) {
        const auto top = static_cast<std::int32_t>(y) * size,
                   left = static_cast<std::int32_t>(x) * size;
        std::byte* to = element(step.out, out, lanes, plane, static_cast<std::int32_t>(y),
                                static_cast<std::int32_t>(x));
        for (std::int32_t i = 0; i < size * size; ++i) {
          const std::byte* at = element(step.in, in, lanes, plane, top + i / size, left + i % size);
          for (std::size_t v = 0; v < count; ++v) {
            if constexpr (kInt8) {  // an offset keeps the order
              if (i == 0 || at[v] > to[v]) to[v] = at[v];
            } else {
              const auto value = get<float>(at + v * 4);
              if (i == 0 || value > get<float>(to + v * 4)) put(to + v * 4, value);
            }
          }
        }
      }
    }
  }
}

// Adds a row of int8 elements to the sums of their four channels, two channels in a word.
void add_row(const std::byte* at, std::uint32_t width, std::size_t stride, std::int32_t (&sum)[4]) {
  constexpr std::uint32_t kMost = 0xFFFF / 0xFF;  // so many bytes are sure to fit in half a word
  for (std::uint32_t first = 0; first < width; first += kMost) {
    std::uint32_t even = 0, odd = 0;  // bytes 0 and 2 of a word, 1 and 3
    for (std::uint32_t x = first; x < width && x - first < kMost; ++x, at += stride) {
      const auto four = get<std::uint32_t>(at);
      even += four & 0x00FF00FF;
      odd += four >> 8 & 0x00FF00FF;
    }
    sum[byte_of_word(0)] += static_cast<std::int32_t>(even & 0xFFFF);
    sum[byte_of_word(1)] += static_cast<std::int32_t>(odd & 0xFFFF);
    sum[byte_of_word(2)] += static_cast<std::int32_t>(even >> 16);
    sum[byte_of_word(3)] += static_cast<std::int32_t>(odd >> 16);
  }
}

template <class T>
void avg_pool(const Step& step, std::uint32_t lanes, const std::byte* in, std::byte* out) {
  constexpr bool kInt8 = !std::is_floating_point_v<T>;
  const Shape shape = step.in.shape;
  for (std::uint32_t plane = 0; plane < step.in.planes; ++plane) {
    std::byte* to = element(step.out, out, lanes, plane, 0, 0);
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      T sum[kInt8 ? 4 : 1] = {};
      for (std::uint32_t y = 0; y < shape.height; ++y) {
        const std::byte* at =
            element(step.in, in, lanes, plane, static_cast<std::int32_t>(y), 0) + lane * 4;
        if constexpr (kInt8) {
          add_row(at, shape.width, std::size_t{4} * lanes, sum);
        } else {
          for (std::uint32_t x = 0; x < shape.width; ++x) sum[0] += get<float>(at + x * lanes * 4);
        }
      }
      if constexpr (kInt8) {
        const std::int32_t offset = step.in.is_signed ? 128 : 0;
        for (std::uint32_t v = 0; v < 4; ++v) {
          const auto whole = sum[v] - offset * static_cast<std::int32_t>(shape.pixels());
          const float real = scaled(whole, step.op->pool_multiplier);
          to[lane * 4 + v] = static_cast<std::byte>(round_clamp(real, -128) + offset);
        }
      } else {
        put(to + lane * 4, sum[0] * step.op->pool_multiplier);
      }
    }
  }
}

template <class T>
void logits(const Step& step, std::uint32_t lanes, std::size_t count, const std::byte* sums,
            float* out) {
  for (std::size_t n = 0; n < count; ++n) {
    for (std::uint32_t i = 0; i < kClasses; ++i) {
      const T sum = get<T>(sums + (i * lanes + n) * 4);
      if constexpr (std::is_floating_point_v<T>) {
        out[n * kClasses + i] = sum * step.scale[i];
      } else {
        out[n * kClasses + i] = scaled(sum, step.scale[i]);
      }
    }
  }
}

template <class T>
void run_as(const Step& step, std::uint32_t lanes, const std::byte* in, std::byte* out,
            std::byte* sums) {
  if (step.kind == StepKind::max_pool) {
    max_pool<T>(step, lanes, in, out);
  } else if (step.kind == StepKind::avg_pool) {
    avg_pool<T>(step, lanes, in, out);
  } else {
    general_conv<T>(step, lanes, in, out, sums);
  }
}

}  // namespace

void read_input(const Plan& plan, const Step& step, const std::uint8_t* images, std::size_t count,
                std::byte* out) {
  if (step.kind == StepKind::windows) {
    windows(step, plan.lanes.images, images, count, out);
  } else {
    input(step, plan.precision, plan.lanes.images, images, count, out);
  }
}

void run_general(const Plan& plan, const Step& step, const std::byte* in, std::byte* out,
                 std::byte* sums) {
  if (plan.precision == Precision::int8) {
    run_as<std::int32_t>(step, plan.lanes.images, in, out, sums);
  } else {
    run_as<float>(step, plan.lanes.images, in, out, sums);
  }
}

void fill_border(const Plan& plan, const Map& map, std::byte* base) {
  set_border(map, base, plan.lanes.images);
}

void write_logits(const Plan& plan, const Step& step, const std::byte* sums, std::size_t count,
                  float* out) {
  if (plan.precision == Precision::int8) {
    logits<std::int32_t>(step, plan.lanes.images, count, sums, out);
  } else {
    logits<float>(step, plan.lanes.images, count, sums, out);
  }
}

}  // namespace mnistkit::engine
