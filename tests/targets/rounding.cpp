// The kernels' rounding against one that looks at nothing but bits, for every float whose magnitude
// is 1/4 to 256 and some beyond. Prints the first that differs.
#include <cstdio>
#include <initializer_list>

#include "kernels/elements.hpp"

using namespace mnistkit::engine;

namespace {

std::int32_t wanted(std::uint32_t bits, std::int32_t low) {
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  std::int32_t whole = 128;  // or more
  if (magnitude < 0x3F000000) {
    whole = 0;  // less than 1/2
  } else if (magnitude < 0x43000000) {
    const std::uint32_t behind = 150 - (magnitude >> 23);  // bits behind the point
    const std::uint32_t significand = (magnitude & 0x7FFFFF) | 0x800000;
    const std::uint32_t rest = significand & ((1u << behind) - 1), half = 1u << (behind - 1);
    whole = static_cast<std::int32_t>(significand >> behind);
    if (rest > half || (rest == half && whole % 2 != 0)) ++whole;
  }
  if (bits >> 31) whole = -whole;
  return whole < low ? low : whole > 127 ? 127 : whole;
}

bool check(std::uint32_t bits) {
  for (const std::int32_t low : {0, -128}) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    const std::int32_t got = round_clamp(value, low);
    if (got == wanted(bits, low)) continue;
    std::printf("%08x, low %d: got %d, wanted %d\n", static_cast<unsigned>(bits),
                static_cast<int>(low), static_cast<int>(got), static_cast<int>(wanted(bits, low)));
    return false;
  }
  return true;
}

}  // namespace

int main() {
  for (const std::uint32_t sign : {0u, 0x80000000u}) {
    for (std::uint32_t bits = 0; bits < 0x4F000000; bits += 65'521) {  // to 2^31
      if (!check(sign | bits)) return 1;
    }
    for (std::uint32_t bits = 0x3E800000; bits < 0x43800000; ++bits) {
      if (!check(sign | bits)) return 1;
    }
  }
  return 0;
}
