#include "plan.hpp"

#include <cstdlib>
#include <cstring>

#include "exact.hpp"

namespace mnistkit::engine {
namespace {

// Hands out arrays from one block. Without a block it only counts, so that building a plan twice
// first gives its size and then fills it.
class Arena {
 public:
  explicit Arena(std::byte* block) : block_(block) {}

  template <class T>
  T* array(std::size_t count) {
    const std::size_t at = used_;
    used_ = (used_ + count * sizeof(T) + 63) / 64 * 64;
    return block_ ? reinterpret_cast<T*>(block_ + at) : nullptr;
  }

  std::size_t used() const { return used_; }

 private:
  std::byte* block_;
  std::size_t used_ = 0;
};

// A plane's end is overrun by less than two units, when stored and when read.
constexpr std::uint32_t kSlack = 2 * kMaxUnit;

// `pitch` 0 leaves no gap between rows.
Map make_map(Shape shape, std::uint32_t planes, std::uint32_t border, bool is_signed,
             std::uint32_t pitch = 0) {
  Map map{shape, border, pitch != 0 ? pitch : shape.width + 2 * border, 0, planes, 0, is_signed};
  map.plane = (shape.height + 2 * border) * map.pitch + kSlack;
  return map;
}

class Builder {
 public:
  Builder(const Model& model, Lanes lanes, Plan& plan, Arena& arena)
      : model_(model), plan_(plan), arena_(arena), lanes_(lanes) {}

  void build() {
    plan_.precision = model_.precision;
    plan_.lanes = lanes_;
    plan_.step_count = 0;
    input();
    for (std::uint32_t i = 0; i < model_.op_count; ++i) i += op(i);
    logits();
    place();
  }

 private:
  bool int8() const { return model_.precision == Precision::int8; }

  std::uint32_t bytes(std::uint32_t elements) const { return elements * 4 * lanes_.images; }

  std::uint32_t planes(std::uint32_t channels) const {
    return int8() ? round_up(channels, 4) / 4 : round_up(channels, 4);
  }

  // The border that op `index` wants around its input.
  std::uint32_t border(std::uint32_t index) const {
    return index < model_.op_count ? model_.ops[index].padding : 0;
  }

  Step& add(StepKind kind, const Op* op, Map in, Map out) {
    Step& step = plan_.steps[plan_.step_count++];
    step = {};
    step.kind = kind;
    step.op = op;
    step.in = in;
    step.out = out;
    current_ = out;
    return step;
  }

  // An int8 net's first convolution reads windows of four pixels, so that a step is four taps.
  bool windowed(const Op& op) const {
    return int8() && op.kind == OpKind::conv && op.in.channels == 1 && op.stride == 1 &&
           op.groups == 1;
  }

  void input() {
    const Op& first = model_.ops[0];
    const Map map = make_map(first.in, 1, first.padding, false);
    add(windowed(first) ? StepKind::windows : StepKind::input, &first, map, map);
  }

  // Adds the steps of op `index`, and returns how many of the ops after it they include.
  std::uint32_t op(std::uint32_t index) {
    const Op& op = model_.ops[index];
    if (op.kind == OpKind::max_pool) {
      const Map out = make_map(op.out, current_.planes, border(index + 1), current_.is_signed);
      add(StepKind::max_pool, &op, current_, out);
      return 0;
    }
    if (op.kind == OpKind::avg_pool) {
      if (last_ != nullptr) {
        pool_ = &op;
        return 0;
      }
      const Map out = make_map(op.out, current_.planes, border(index + 1), current_.is_signed);
      add(StepKind::avg_pool, &op, current_, out);
      return 0;
    }
    return conv(op, index);
  }

  std::uint32_t conv(const Op& op, std::uint32_t index) {
    const bool dense = op.groups == 1 && op.stride == 1 &&
                       (!int8() || op.in.channels > 1 || (index == 0 && windowed(op)));
    const bool depthwise = op.depthwise() && op.stride == 1 && !op.last && !dense;
    const Op* next = index + 1 < model_.op_count ? &model_.ops[index + 1] : nullptr;
    const bool pooled =
        dense && !op.last && next && next->kind == OpKind::max_pool && next->kernel == 2;
    const Shape shape = op.last ? Shape{op.out.channels, 1, 1} : pooled ? next->out : op.out;
    const Map in = current_;
    const std::uint32_t around = border(index + 1 + pooled);
    // What is computed between the rows falls into the border, which is filled afterwards.
    const bool fits = op.last || in.pitch >= shape.width + 2 * around;
    const bool whole = (dense || depthwise) && !pooled && fits && flat(op, in);
    const Map out =
        make_map(shape, planes(shape.channels), around, int8() && !op.relu, whole ? in.pitch : 0);
    const StepKind kind = dense       ? StepKind::conv
                          : depthwise ? StepKind::depthwise
                                      : StepKind::general_conv;
    Step& step = add(kind, &op, in, out);
    step.pooled = pooled;
    step.sums = op.last;
    if (op.last) last_ = &op;
    step.bias = bias(op, in, kind);
    if (kind == StepKind::general_conv) return 0;
    taps(step, index == 0);
    if (pooled) {
      pool_units(step);
    } else {
      units(step, whole);
    }
    return pooled ? 1 : 0;
  }

  const std::byte* bias(const Op& op, const Map& in, StepKind kind) {
    if (!lanes_.offset_bias || !in.is_signed || kind == StepKind::general_conv) return op.bias;
    auto* copy = arena_.array<std::int32_t>(op.padded_out());
    if (!copy) return nullptr;
    const std::uint32_t row = op.row_steps(Precision::int8) * 4;
    for (std::uint32_t o = 0; o < op.padded_out(); ++o) {
      std::int32_t sum = 0;
      for (std::uint32_t i = 0; i < row; ++i) {
        sum += static_cast<signed char>(op.weights[std::size_t{o} * row + i]);
      }
      std::memcpy(&copy[o], op.bias + std::size_t{o} * 4, 4);
      copy[o] -= 128 * sum;
    }
    return reinterpret_cast<const std::byte*>(copy);
  }

  void taps(Step& step, bool windows) {
    const Op& op = *step.op;
    const bool depthwise = step.kind == StepKind::depthwise;
    const bool fours = int8() && (windows || depthwise);
    const std::uint32_t stride = fours && windows ? 4 : 1;
    const std::uint32_t across = fours && windows ? round_up(op.kernel, 4) / 4 : op.kernel;
    const std::uint32_t deep = depthwise || windows ? 1
                               : int8()             ? planes(op.in.channels)
                                                    : op.in.channels;
    step.taps = op.kernel * across * deep;
    auto* tap = arena_.array<std::uint32_t>(step.taps);
    step.tap = tap;
    if (!tap) return;
    for (std::uint32_t y = 0; y < op.kernel; ++y) {
      for (std::uint32_t x = 0; x < across; ++x) {
        for (std::uint32_t plane = 0; plane < deep; ++plane) {
          *tap++ = bytes(plane * step.in.plane + y * step.in.pitch + x * stride);
        }
      }
    }
  }

  // Whether a map is cut into units as a whole, the columns between its rows computed too, rather
  // than row by row. The output then keeps the input's pitch, and what is between is never read.
  bool flat(const Op& op, const Map& in) const { return flat_units(op, in) < row_units(op); }
  std::uint32_t flat_units(const Op& op, const Map& in) const {
    return ((op.out.height - 1) * in.pitch + op.out.width + lanes_.unit - 1) / lanes_.unit;
  }
  std::uint32_t row_units(const Op& op) const {
    return op.out.height * ((op.out.width + lanes_.unit - 1) / lanes_.unit);
  }

  void units(Step& step, bool flat) {
    const Shape& shape = step.op->out;
    const std::uint32_t unit = lanes_.unit, pitch = step.in.pitch;
    step.unit_count = flat ? flat_units(*step.op, step.in) : row_units(*step.op);
    auto* units = arena_.array<Unit>(step.unit_count);
    step.units = units;
    if (!units) return;
    const std::uint32_t span = (shape.height - 1) * pitch + shape.width;
    for (std::uint32_t at = 0; flat && at < span; at += unit) {
      std::uint32_t mask = 0;
      for (std::uint32_t lane = 0; lane < unit; ++lane) {
        if ((at + lane) % pitch < shape.width && at + lane < span) mask |= 1u << lane;
      }
      *units++ = {bytes(at), bytes(step.out.first() + at), mask};
    }
    for (std::uint32_t y = 0; !flat && y < shape.height; ++y) {
      for (std::uint32_t x = 0; x < shape.width; x += unit) {
        const std::uint32_t count = shape.width - x < unit ? shape.width - x : unit;
        *units++ = {bytes(y * pitch + x), bytes(step.out.first() + y * step.out.pitch + x),
                    (1u << count) - 1};
      }
    }
  }

  // 2x2 windows: a unit is `unit` pixels of two rows, or one window.
  void pool_units(Step& step) {
    const Shape& shape = step.out.shape;
    const std::uint32_t windows = lanes_.unit > 1 ? lanes_.unit / 2 : 1;
    step.unit_count = shape.height * ((shape.width + windows - 1) / windows);
    auto* units = arena_.array<Unit>(step.unit_count);
    step.units = units;
    if (!units) return;
    for (std::uint32_t y = 0; y < shape.height; ++y) {
      for (std::uint32_t x = 0; x < shape.width; x += windows) {
        *units++ = {bytes(2 * y * step.in.pitch + 2 * x),
                    bytes(step.out.first() + y * step.out.pitch + x), 0};
      }
    }
  }

  void logits() {
    auto* scale = arena_.array<float>(kClasses);
    const Map map = current_;
    add(StepKind::logits, last_, map, map).scale = scale;
    if (!scale) return;
    for (std::uint32_t i = 0; i < kClasses; ++i) {
      const float factor = int8() ? last_->multiplier[i] : 1.0f;
      scale[i] = pool_ ? stored(factor * pool_->pool_multiplier) : factor;
    }
  }

  // Maps take turns in two buffers; a step's input and output are never in the same.
  void place() {
    std::size_t bytes[2] = {0, 0};
    for (std::uint32_t i = 0; i < plan_.step_count; ++i) {
      const Map& out = plan_.steps[i].out;
      const std::size_t size =
          std::size_t{4} * lanes_.images * (out.plane * out.planes + 4 * kSlack);
      if (size > bytes[i % 2]) bytes[i % 2] = size;
    }
    for (std::size_t& size : bytes)
      size = (size + kScratchAlign - 1) / kScratchAlign * kScratchAlign;
    for (std::uint32_t i = 0; i < plan_.step_count; ++i) {
      plan_.steps[i].out.offset = i % 2 ? bytes[0] : 0;
      if (i > 0) plan_.steps[i].in.offset = plan_.steps[i - 1].out.offset;
    }
    plan_.sums = bytes[0] + bytes[1];
    plan_.scratch_size = plan_.sums + std::size_t{4} * round_up(kClasses, 4) * lanes_.images;
  }

  const Model& model_;
  Plan& plan_;
  Arena& arena_;
  Lanes lanes_;
  Map current_{};
  const Op* last_ = nullptr;
  const Op* pool_ = nullptr;
};

}  // namespace

Plan* make_plan(const Model& model, Lanes lanes) {
  auto* plan = static_cast<Plan*>(std::calloc(1, sizeof(Plan)));
  if (!plan) return nullptr;
  Arena count(nullptr);
  Builder(model, lanes, *plan, count).build();
  void* memory = std::aligned_alloc(64, (count.used() + 63) / 64 * 64);
  if (!memory) {
    std::free(plan);
    return nullptr;
  }
  Arena arena(static_cast<std::byte*>(memory));
  Builder(model, lanes, *plan, arena).build();
  plan->memory = memory;
  return plan;
}

void free_plan(Plan* plan) {
  if (!plan) return;
  std::free(plan->memory);
  std::free(plan);
}

}  // namespace mnistkit::engine
