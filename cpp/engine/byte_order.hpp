// The machine's byte order. A .mnk file is little-endian; a map is bytes, whose places in a word
// of four differ.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model.hpp"

namespace mnistkit::engine {

inline constexpr bool kBigEndian = std::endian::native == std::endian::big;
static_assert(kBigEndian || std::endian::native == std::endian::little);

// Which byte of a word, as it stands in memory, is bits 8 * index and up; and the reverse.
constexpr std::uint32_t byte_of_word(std::uint32_t index) { return kBigEndian ? 3 - index : index; }

// A number of a file.
template <class T>
T read_little(const std::byte* at) {
  std::byte bytes[sizeof(T)];
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes[kBigEndian ? sizeof(T) - 1 - i : i] = at[i];
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// On a big-endian machine, makes the model point to copies of its biases, multipliers and fp32
// weights, in model.copies. Returns false where memory is lacking.
bool to_native_order(Model& model);

}  // namespace mnistkit::engine
