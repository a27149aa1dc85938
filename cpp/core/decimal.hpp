// Decimal text to double, the same with every C++ library and in every locale.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace mnistkit::detail {

/// Reads all of a text such as "-12.5e3"; nothing where it is no number. One that is too large is
/// infinite; one that is too small is 0 or a denormal, as IEEE 754 rounds it.
///
/// std::from_chars has no double in libc++ before version 20, and std::strtod reads the decimal
/// point of the C locale. So the point is taken out and the exponent made to fit: 12.5e3 is 125e2.
inline std::optional<double> parse_decimal(std::string_view text) {
  std::size_t at = 0;
  const auto take = [&](char wanted) {
    if (at == text.size() || text[at] != wanted) return false;
    ++at;
    return true;
  };
  const auto is_digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  std::string plain = take('-') ? "-" : "";
  std::int64_t exponent = 0;
  std::size_t digits = 0;
  for (; is_digit(); ++digits) plain.push_back(text[at++]);
  if (take('.')) {
    for (; is_digit(); ++digits, --exponent) plain.push_back(text[at++]);
  }
  if (digits == 0) return std::nullopt;
  if (take('e') || take('E')) {
    const bool negative = take('-');
    if (!negative) take('+');
    if (!is_digit()) return std::nullopt;
    constexpr std::int64_t kEnough = 1'000'000'000'000;  // more digits than fit into memory
    std::int64_t given = 0;
    for (; is_digit(); ++at) {
      if (given < kEnough) given = given * 10 + (text[at] - '0');
    }
    exponent += negative ? -given : given;
  }
  if (at != text.size()) return std::nullopt;
  plain += 'e' + std::to_string(exponent);
  return std::strtod(plain.c_str(), nullptr);
}

}  // namespace mnistkit::detail
