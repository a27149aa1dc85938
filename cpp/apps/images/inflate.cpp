#include "apps/images/inflate.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace mnistkit::apps {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// Bits of a DEFLATE stream, lowest first.
class BitReader {
 public:
  explicit BitReader(Bytes data) : data_(data) {}

  std::uint32_t bits(unsigned count) {
    while (held_ < count) {
      if (at_ >= data_.size()) throw ImageError("compressed data ends too early");
      buffer_ |= std::uint64_t{data_[at_++]} << held_;
      held_ += 8;
    }
    const auto value = static_cast<std::uint32_t>(buffer_ & ((std::uint64_t{1} << count) - 1));
    buffer_ >>= count;
    held_ -= count;
    return value;
  }

  /// Drops the rest of the byte and gives `count` whole bytes.
  Bytes bytes(std::size_t count) {
    align();
    if (count > data_.size() - at_) throw ImageError("compressed data ends too early");
    const Bytes taken = data_.subspan(at_, count);
    at_ += count;
    return taken;
  }

 private:
  void align() {
    at_ -= held_ / 8;  // whole bytes that were read ahead
    held_ = 0;
    buffer_ = 0;
  }

  Bytes data_;
  std::size_t at_ = 0;
  std::uint64_t buffer_ = 0;
  unsigned held_ = 0;
};

/// A canonical Huffman code: how many codes there are of each length, and their symbols in order.
class Huffman {
 public:
  static constexpr unsigned kMaxBits = 15;

  explicit Huffman(std::span<const std::uint8_t> lengths) {
    for (const std::uint8_t length : lengths) ++count_[length];
    int left = 1;
    for (unsigned length = 1; length <= kMaxBits; ++length) {
      left = 2 * left - count_[length];
      if (left < 0) throw ImageError("compressed data has an impossible Huffman code");
    }
    std::array<std::uint16_t, kMaxBits + 2> offset = {};
    for (unsigned i = 1; i <= kMaxBits; ++i) {
      offset[i + 1] = static_cast<std::uint16_t>(offset[i] + count_[i]);
    }
    for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) {
        symbol_[offset[lengths[symbol]]++] = static_cast<std::uint16_t>(symbol);
      }
    }
    count_[0] = 0;
  }

  unsigned decode(BitReader& in) const {
    int code = 0;
    int first = 0;
    int index = 0;
    for (unsigned length = 1; length <= kMaxBits; ++length) {
      code |= static_cast<int>(in.bits(1));
      const int count = count_[length];
      if (code - first < count) return symbol_[static_cast<std::size_t>(index + code - first)];
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw ImageError("compressed data has a code that stands for nothing");
  }

 private:
  std::array<std::uint16_t, kMaxBits + 1> count_ = {};
  std::array<std::uint16_t, 288> symbol_ = {};
};

class Inflater {
 public:
  Inflater(Bytes data, std::size_t limit) : in_(data), limit_(limit) {}

  std::vector<std::uint8_t> run() {
    bool last = false;
    while (!last) {
      last = in_.bits(1) != 0;
      switch (in_.bits(2)) {
        case 0:
          stored();
          break;
        case 1:
          fixed();
          break;
        case 2:
          dynamic();
          break;
        default:
          throw ImageError("compressed data has a block of an unknown kind");
      }
    }
    return std::move(out_);
  }

  /// What follows the compressed data.
  Bytes trailer(std::size_t count) { return in_.bytes(count); }

 private:
  void room_for(std::size_t count) const {
    if (count > limit_ - out_.size()) {
      throw ImageError("compressed data gives more than " + std::to_string(limit_) + " bytes");
    }
  }

  void stored() {
    const Bytes header = in_.bytes(4);
    const unsigned length = header[0] | header[1] << 8;
    const unsigned inverse = header[2] | header[3] << 8;
    if (length != (inverse ^ 0xffffU)) throw ImageError("compressed data has a damaged block");
    room_for(length);
    const Bytes raw = in_.bytes(length);
    out_.insert(out_.end(), raw.begin(), raw.end());
  }

  void fixed() {
    std::array<std::uint8_t, 288> lengths;
    std::fill(lengths.begin(), lengths.begin() + 144, 8);
    std::fill(lengths.begin() + 144, lengths.begin() + 256, 9);
    std::fill(lengths.begin() + 256, lengths.begin() + 280, 7);
    std::fill(lengths.begin() + 280, lengths.end(), 8);
    std::array<std::uint8_t, 30> distances;
    distances.fill(5);
    codes(Huffman(lengths), Huffman(distances));
  }

  void dynamic() {
    static constexpr std::array<std::uint8_t, 19> kOrder = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                            11, 4,  12, 3, 13, 2, 14, 1, 15};
    const std::size_t literals = in_.bits(5) + 257;
    const std::size_t distances = in_.bits(5) + 1;
    const std::size_t meta = in_.bits(4) + 4;
    if (literals > 286 || distances > 30) throw ImageError("compressed data has too many codes");
    std::array<std::uint8_t, 320> lengths = {};
    for (std::size_t i = 0; i < meta; ++i) {
      lengths[kOrder[i]] = static_cast<std::uint8_t>(in_.bits(3));
    }
    const std::span<const std::uint8_t> all = lengths;
    const Huffman lengths_code(all.first(kOrder.size()));
    lengths.fill(0);
    for (std::size_t i = 0; i < literals + distances;) {
      const unsigned symbol = lengths_code.decode(in_);
      std::uint8_t value = 0;
      std::size_t repeat = 1;
      if (symbol < 16) {
        value = static_cast<std::uint8_t>(symbol);
      } else if (symbol == 16) {
        if (i == 0) throw ImageError("compressed data repeats a length before the first");
        value = lengths[i - 1];
        repeat = 3 + in_.bits(2);
      } else {
        repeat = symbol == 17 ? 3 + in_.bits(3) : 11 + in_.bits(7);
      }
      if (i + repeat > literals + distances) throw ImageError("compressed data repeats too much");
      std::fill_n(lengths.begin() + static_cast<std::ptrdiff_t>(i), repeat, value);
      i += repeat;
    }
    codes(Huffman(all.first(literals)), Huffman(all.subspan(literals, distances)));
  }

  void codes(const Huffman& literals, const Huffman& distances) {
    static constexpr std::array<std::uint16_t, 29> kLength = {
        3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
        31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static constexpr std::array<std::uint8_t, 29> kLengthExtra = {
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static constexpr std::array<std::uint16_t, 30> kDistance = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    while (true) {
      const unsigned symbol = literals.decode(in_);
      if (symbol == 256) return;
      if (symbol < 256) {
        room_for(1);
        out_.push_back(static_cast<std::uint8_t>(symbol));
        continue;
      }
      const std::size_t index = symbol - 257;
      if (index >= kLength.size()) throw ImageError("compressed data has an impossible length");
      const std::size_t length = kLength[index] + in_.bits(kLengthExtra[index]);
      const unsigned far = distances.decode(in_);
      if (far >= kDistance.size()) throw ImageError("compressed data has an impossible distance");
      const std::size_t distance = kDistance[far] + in_.bits(far < 4 ? 0 : far / 2 - 1);
      if (distance > out_.size()) throw ImageError("compressed data points before its beginning");
      room_for(length);
      for (std::size_t i = 0; i < length; ++i) out_.push_back(out_[out_.size() - distance]);
    }
  }

  BitReader in_;
  std::size_t limit_;
  std::vector<std::uint8_t> out_;
};

std::uint32_t adler32(Bytes data) noexcept {
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const std::uint8_t byte : data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

/// Length of a gzip member's header.
std::size_t gzip_header(Bytes data) {
  constexpr unsigned kHeaderCrc = 2;
  constexpr unsigned kExtra = 4;
  constexpr unsigned kName = 8;
  constexpr unsigned kComment = 16;
  if (data.size() < 18 || data[0] != 0x1f || data[1] != 0x8b || data[2] != 8) {
    throw ImageError("not gzip data");
  }
  const unsigned flags = data[3];
  std::size_t at = 10;
  const auto need = [&](std::size_t count) {
    if (count > data.size() - at) throw ImageError("gzip header ends too early");
  };
  if ((flags & kExtra) != 0) {
    need(2);
    const std::size_t length = data[at] | data[at + 1] << 8;
    at += 2;
    need(length);
    at += length;
  }
  for (const unsigned text : {kName, kComment}) {
    if ((flags & text) == 0) continue;
    const auto end = std::find(data.begin() + static_cast<std::ptrdiff_t>(at), data.end(), 0);
    if (end == data.end()) throw ImageError("gzip header ends too early");
    at = static_cast<std::size_t>(end - data.begin()) + 1;
  }
  if ((flags & kHeaderCrc) != 0) {
    need(2);
    at += 2;
  }
  return at;
}

}  // namespace

std::uint32_t crc32(Bytes data) noexcept {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table = {};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) * 0xedb88320U);
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t crc = 0xffffffffU;
  for (const std::uint8_t byte : data) crc = kTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return ~crc;
}

std::vector<std::uint8_t> inflate_zlib(Bytes data, std::size_t limit) {
  if (data.size() < 6 || (data[0] & 0x0f) != 8 || (data[0] << 8 | data[1]) % 31 != 0 ||
      (data[1] & 0x20) != 0) {
    throw ImageError("not zlib data");
  }
  Inflater inflater(data.subspan(2), limit);
  std::vector<std::uint8_t> out = inflater.run();
  const Bytes sum = inflater.trailer(4);
  const std::uint32_t wanted = std::uint32_t{sum[0]} << 24 | std::uint32_t{sum[1]} << 16 |
                               std::uint32_t{sum[2]} << 8 | sum[3];
  if (adler32(out) != wanted) throw ImageError("checksum of the compressed data is wrong");
  return out;
}

std::vector<std::uint8_t> inflate_gzip(Bytes data, std::size_t limit) {
  Inflater inflater(data.subspan(gzip_header(data)), limit);
  std::vector<std::uint8_t> out = inflater.run();
  const Bytes sum = inflater.trailer(8);
  const std::uint32_t wanted = std::uint32_t{sum[0]} | std::uint32_t{sum[1]} << 8 |
                               std::uint32_t{sum[2]} << 16 | std::uint32_t{sum[3]} << 24;
  if (crc32(out) != wanted) throw ImageError("checksum of the compressed data is wrong");
  return out;
}

}  // namespace mnistkit::apps
