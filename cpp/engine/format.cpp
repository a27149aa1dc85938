#include "format.hpp"

#include <cstring>

#include "byte_order.hpp"
#include "crc32.hpp"
#include "exact.hpp"

namespace mnistkit::engine {
namespace {

constexpr unsigned char kMagic[8] = {0x89, 'M', 'N', 'K', '\r', '\n', 0x1A, '\n'};
constexpr std::uint32_t kOldest = 1, kNewest = 2;  // versions
constexpr std::size_t kHeaderBytes = 64, kEntryBytes = 32, kOpBytes = 64, kAlign = 64;
constexpr std::uint32_t kSections = 3;  // ops, data, name
constexpr std::size_t kTableEnd = kHeaderBytes + kSections * kEntryBytes;
constexpr std::uint64_t kMaxFile = std::uint64_t{1} << 26;
constexpr std::uint32_t kRelu = 1, kLast = 2;
constexpr std::uint32_t kMaxChannels = 1024, kMaxKernel = 31, kMaxPadding = 15, kMaxStride = 31;
constexpr std::uint64_t kMaxValues = std::uint64_t{1} << 20;
constexpr std::int64_t kExact = std::int64_t{1} << 24;  // integers below convert to float exactly
constexpr std::uint32_t kMaxMultiplier = 0x42800000;    // 64: 2^24 * 64 still converts to int32
constexpr std::uint32_t kMinMultiplier = 0x00800000;    // 2^-126
constexpr int kMaxPair = 128;  // 255 * 128 is the last multiple of 255 that 16 bits hold

constexpr FormatError kFine{0, ""};

template <class T>
T read(const std::byte* at) {
  return read_little<T>(at);
}

bool all_zero(const std::byte* data, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] != std::byte{0}) return false;
  }
  return true;
}

struct Section {
  const std::byte* data;
  std::uint64_t size;
};

FormatError parse_sections(const std::byte* data, std::size_t size, Section (&sections)[3]) {
  if (size < kTableEnd || std::memcmp(data, kMagic, sizeof kMagic) != 0) {
    return {1, "not a .mnk file: no magic, or shorter than its header"};
  }
  const auto version = read<std::uint32_t>(data + 8);
  if (version < kOldest || version > kNewest) return {kVersionRule, "its version is not 1 or 2"};
  if (read<std::uint64_t>(data + 16) != size || size > kMaxFile) {
    return {3, "its size is not what the header says, or above 64 MiB"};
  }
  if (read<std::uint32_t>(data + 24) != kSections) return {4, "wanted three sections"};
  std::uint32_t crc = crc32(0, data, 28);
  const std::byte none[4] = {};
  crc = crc32(crc, none, 4);
  crc = crc32(crc, data + 32, kTableEnd - 32);
  if (crc != read<std::uint32_t>(data + 28)) return {5, "header or section table is damaged"};
  if (read<std::uint32_t>(data + 12) > 1 || !all_zero(data + 32, 32)) {
    return {6, "unknown precision, or a reserved byte of the header is not zero"};
  }
  std::uint64_t end = kTableEnd;
  for (std::uint32_t i = 0; i < kSections; ++i) {
    const std::byte* entry = data + kHeaderBytes + i * kEntryBytes;
    const auto offset = read<std::uint64_t>(entry + 8), length = read<std::uint64_t>(entry + 16);
    if (read<std::uint32_t>(entry) != i + 1 || read<std::uint64_t>(entry + 24) != 0) {
      return {7, "sections must be ops, data, name, with the reserved field zero"};
    }
    end = (end + kAlign - 1) / kAlign * kAlign;  // at most 64 MiB + 63: no overflow
    if (offset != end || offset > size || length > size - offset) {
      return {8, "a section is not where the one before it ends, or leaves the file"};
    }
    if (crc32(0, data + offset, static_cast<std::size_t>(length)) !=
        read<std::uint32_t>(entry + 4)) {
      return {9, "a section is damaged"};
    }
    sections[i] = {data + offset, length};
    end = offset + length;
  }
  if (end != size) return {8, "bytes follow the last section"};
  return kFine;
}

FormatError parse_name(const Section& section, Model& model) {
  if (section.size == 0 || section.size > kMaxName) return {10, "a name has 1 to 63 bytes"};
  for (std::uint64_t i = 0; i < section.size; ++i) {
    const auto c = static_cast<unsigned char>(section.data[i]);
    if (c < 0x21 || c > 0x7E) return {10, "a name is printable ASCII with no blank"};
    model.name[i] = static_cast<char>(c);
  }
  model.name[section.size] = '\0';
  return kFine;
}

// A blob of the data section at the offset that stands at `field`, or null.
const std::byte* blob(const Section& section, const std::byte* field, std::uint64_t size) {
  const auto offset = read<std::uint64_t>(field);
  if (offset % kAlign != 0 || offset > section.size || size > section.size - offset) return nullptr;
  return section.data + offset;
}

// By its bits: flags let a compiler take a denormal for 0, or a NaN for a number in the range.
bool good_multiplier(float value) {
  const std::uint32_t bits = bits_of(value);
  return (bits & 0x7FFFFFFF) == 0 || (bits >= kMinMultiplier && bits <= kMaxMultiplier);
}

// The two largest magnitudes of one output channel's weights of one sign.
class LargestPair {
 public:
  void add(int magnitude) {
    if (magnitude > first_) {
      second_ = first_;
      first_ = magnitude;
    } else if (magnitude > second_) {
      second_ = magnitude;
    }
  }
  int sum() const { return first_ + second_; }

 private:
  int first_ = 0, second_ = 0;
};

FormatError check_int8(const Op& op, std::uint32_t version) {
  const std::uint32_t row = op.row_steps(Precision::int8) * 4;
  // Of each run of `padded` weights, the first `used` are channels, or taps of a row.
  const std::uint32_t used = op.group_in() == 1 ? op.kernel : op.group_in();
  const std::uint32_t padded = round_up(used, 4);
  const std::uint64_t pixels = op.last ? op.out.pixels() : 1;
  for (std::uint32_t o = 0; o < op.padded_out(); ++o) {
    const auto bias = read<std::int32_t>(op.bias + std::size_t{o} * 4);
    std::int64_t reach = bias < 0 ? -std::int64_t{bias} : std::int64_t{bias};
    LargestPair positive, negative;
    for (std::uint32_t i = 0; i < row; ++i) {
      const int weight = static_cast<signed char>(op.weights[std::size_t{o} * row + i]);
      if (weight == -128) return {19, "a weight of -128"};
      if (weight != 0 && i % padded >= used) return {22, "a missing channel or tap is not zero"};
      reach += (weight < 0 ? -weight : weight) * 128;
      (weight < 0 ? negative : positive).add(weight < 0 ? -weight : weight);
    }
    if (version >= 2 && (positive.sum() > kMaxPair || negative.sum() > kMaxPair)) {
      return {26, "two weights of one sign in an output channel add up to more than 128"};
    }
    if (reach >= kExact) return {20, "an accumulator may reach 2^24"};
    if (static_cast<std::uint64_t>(reach) * pixels >= std::uint64_t{1} << 31) {
      return {20, "a sum of accumulators may reach 2^31"};
    }
    const auto multiplier = read<float>(reinterpret_cast<const std::byte*>(op.multiplier + o));
    if (!good_multiplier(multiplier)) return {21, "a multiplier is not in 2^-126..64 or 0"};
    if (o >= op.out.channels && (reach != 0 || multiplier != 0.0f)) {
      return {22, "the channels that pad an op to a multiple of four must be zero"};
    }
  }
  return kFine;
}

FormatError check_fp32(const Op& op) {
  const std::size_t weights = std::size_t{op.padded_out()} * op.row_steps(Precision::fp32);
  for (std::size_t i = 0; i < weights + op.padded_out(); ++i) {
    const float value =
        i < weights ? read<float>(op.weights + i * 4) : read<float>(op.bias + (i - weights) * 4);
    if (!finite(value)) return {18, "a weight or bias is not finite"};
  }
  return kFine;
}

FormatError parse_conv(const std::byte* record, const Section& data, const Model& model, Op& op) {
  const Precision precision = model.precision;
  const auto out = read<std::uint32_t>(record + 12);
  op.groups = read<std::uint32_t>(record + 28);
  if (op.kernel < 1 || op.kernel > kMaxKernel || op.padding > kMaxPadding || op.stride < 1 ||
      op.stride > kMaxStride || out < 1 || out > kMaxChannels) {
    return {14, "a convolution's kernel, padding, stride or channels are out of range"};
  }
  if (op.groups < 1 || op.in.channels % op.groups != 0 || out % op.groups != 0) {
    return {15, "the groups do not divide the channels"};
  }
  const std::uint32_t height = op.in.height + 2 * op.padding, width = op.in.width + 2 * op.padding;
  if (op.kernel > height || op.kernel > width) return {16, "a kernel is larger than its input"};
  op.out = {out, (height - op.kernel) / op.stride + 1, (width - op.kernel) / op.stride + 1};
  if (op.relu && op.last) return {13, "the last convolution has no ReLU"};
  const std::uint64_t padded = op.padded_out();
  op.weights = blob(data, record + 32, padded * op.row_steps(precision) * 4);
  op.bias = blob(data, record + 40, padded * 4);
  const std::byte* multiplier =
      blob(data, record + 48, precision == Precision::int8 ? padded * 4 : 0);
  if (!op.weights || !op.bias || !multiplier) {
    return {17, "an array is not aligned to 64 bytes, or leaves the data section"};
  }
  op.multiplier = reinterpret_cast<const float*>(multiplier);
  return precision == Precision::int8 ? check_int8(op, model.version) : check_fp32(op);
}

FormatError parse_op(const std::byte* record, const Section& data, const Model& model, Op& op) {
  const auto kind = read<std::uint32_t>(record), flags = read<std::uint32_t>(record + 4);
  if (kind < 1 || kind > 3) return {12, "unknown op"};
  if (flags > 3 || read<std::uint32_t>(record + 60) != 0) {
    return {13, "unknown flags, or a reserved field that is not zero"};
  }
  if (read<std::uint32_t>(record + 8) != op.in.channels) {
    return {14, "an op's input channels are not the channels before it"};
  }
  op.kind = static_cast<OpKind>(kind);
  op.relu = (flags & kRelu) != 0;
  op.last = (flags & kLast) != 0;
  op.kernel = read<std::uint32_t>(record + 16);
  op.padding = read<std::uint32_t>(record + 20);
  op.stride = read<std::uint32_t>(record + 24);
  op.groups = 1;
  op.pool_multiplier = read<float>(record + 56);
  if (op.kind == OpKind::conv) return parse_conv(record, data, model, op);
  if (flags != 0 || !all_zero(record + 20, 36) ||
      read<std::uint32_t>(record + 12) != op.in.channels) {
    return {13, "a pool has no flags, weights or padding, and keeps its channels"};
  }
  if (op.kind == OpKind::avg_pool) {
    if (op.kernel != 0 || !good_multiplier(op.pool_multiplier)) {
      return {21, "an average pool's multiplier is not in 2^-126..64 or 0"};
    }
    op.out = {op.in.channels, 1, 1};
    return kFine;
  }
  if (op.kernel < 1 || op.kernel > op.in.height || op.kernel > op.in.width) {
    return {16, "a max pool is larger than its input"};
  }
  op.out = {op.in.channels, op.in.height / op.kernel, op.in.width / op.kernel};
  return kFine;
}

FormatError parse_ops(const Section& ops, const Section& data, Model& model) {
  if (ops.size == 0 || ops.size % kOpBytes != 0 || ops.size > kMaxOps * kOpBytes) {
    return {11, "wanted 1 to 64 op records of 64 bytes"};
  }
  model.op_count = static_cast<std::uint32_t>(ops.size / kOpBytes);
  Shape shape{1, kSide, kSide};
  bool last = false, pooled = false;
  for (std::uint32_t i = 0; i < model.op_count; ++i) {
    Op& op = model.ops[i];
    op = {};
    op.in = shape;
    if (const auto error = parse_op(ops.data + i * kOpBytes, data, model, op); error.rule != 0) {
      return error;
    }
    if (last && (op.kind != OpKind::avg_pool || pooled)) {
      return {23, "one average pool alone may follow the last convolution"};
    }
    pooled = last;
    last = last || op.last;
    const std::uint32_t border = 2 * op.padding;
    const std::uint64_t in_values = std::uint64_t{round_up(op.in.channels, 4)} *
                                    (op.in.height + border) * (op.in.width + border);
    const std::uint64_t out_values = std::uint64_t{op.padded_out()} * op.out.pixels();
    if (in_values > kMaxValues || out_values > kMaxValues)
      return {24, "a map is above 2^20 values"};
    shape = op.out;
  }
  if (!last || shape.channels != kClasses || shape.pixels() != 1) {
    return {25, "the ops do not end in ten logits"};
  }
  return kFine;
}

}  // namespace

FormatError parse(const std::byte* data, std::size_t size, Model& model) {
  Section sections[kSections] = {};
  if (const auto error = parse_sections(data, size, sections); error.rule != 0) return error;
  model.version = read<std::uint32_t>(data + 8);
  model.precision = static_cast<Precision>(read<std::uint32_t>(data + 12));
  if (const auto error = parse_name(sections[2], model); error.rule != 0) return error;
  return parse_ops(sections[0], sections[1], model);
}

}  // namespace mnistkit::engine
