#include "byte_order.hpp"

#include <cstdlib>

namespace mnistkit::engine {

bool to_native_order(Model& model) {
  if constexpr (!kBigEndian) return true;
  const bool int8 = model.precision == Precision::int8;
  const auto weights = [&](const Op& op) {
    return int8 ? 0 : std::size_t{op.padded_out()} * op.row_steps(Precision::fp32);
  };
  std::size_t count = 0;  // at most 64 times a file of 64 MiB: calloc may refuse, nothing overflows
  for (std::uint32_t i = 0; i < model.op_count; ++i) {
    const Op& op = model.ops[i];
    if (op.kind == OpKind::conv) count += weights(op) + std::size_t{2} * op.padded_out();
  }
  model.copies = std::calloc(count, 4);
  if (!model.copies) return false;
  auto* at = static_cast<std::byte*>(model.copies);
  const auto copy = [&](const std::byte* from, std::size_t words) {
    std::byte* const start = at;
    for (const std::byte* const end = from + words * 4; from != end; from += 4, at += 4) {
      const auto word = read_little<std::uint32_t>(from);
      std::memcpy(at, &word, 4);
    }
    return start;
  };
  for (std::uint32_t i = 0; i < model.op_count; ++i) {
    Op& op = model.ops[i];
    if (op.kind != OpKind::conv) continue;
    op.bias = copy(op.bias, op.padded_out());
    if (int8) {
      const auto* multiplier = reinterpret_cast<const std::byte*>(op.multiplier);
      op.multiplier = reinterpret_cast<const float*>(copy(multiplier, op.padded_out()));
    } else {
      op.weights = copy(op.weights, weights(op));
    }
  }
  return true;
}

}  // namespace mnistkit::engine
