// Command-line arguments for the programs: options with a value, flags and what is left.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mnistkit::apps {

/// The call was wrong.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Arguments {
 public:
  /// Reads `--name value`, `--name=value`, flags, and positional arguments ("-" is one, and all
  /// that follows "--"). Throws `UsageError` for an option that is in neither list.
  Arguments(int argc, const char* const* argv, std::initializer_list<std::string_view> options,
            std::initializer_list<std::string_view> flags);

  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] std::string value(std::string_view name, std::string_view otherwise) const;
  /// A whole number within the bounds, or `UsageError`.
  [[nodiscard]] std::int64_t number(std::string_view name, std::int64_t otherwise,
                                    std::int64_t least, std::int64_t most) const;
  /// A number within the bounds, or `UsageError`.
  [[nodiscard]] double real(std::string_view name, double otherwise, double least,
                            double most) const;
  /// Whole numbers with commas between, each within the bounds, or `UsageError`.
  [[nodiscard]] std::vector<std::int64_t> numbers(std::string_view name, std::string_view otherwise,
                                                  std::int64_t least, std::int64_t most) const;
  [[nodiscard]] const std::vector<std::string>& positional() const noexcept { return positional_; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::vector<std::string> positional_;
};

}  // namespace mnistkit::apps
