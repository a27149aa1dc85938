// A small, strict, bounded JSON reader (RFC 8259) for manifests. It is our own because the runner
// compiles from a wheel's sources with nothing but libtorch: no header to find or to download.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mnistkit::detail {

/// One JSON value. The accessors throw `Error(bad_artifact)` when the value is of another kind.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  /// Deepest nesting that is read; deeper text is refused.
  static constexpr std::size_t kMaxDepth = 32;

  /// Reads a whole text; throws `Error(bad_artifact)` with line and column if it is not JSON.
  [[nodiscard]] static Json parse(std::string_view text);

  [[nodiscard]] bool is_null() const noexcept {
    return std::holds_alternative<std::monostate>(value_);
  }
  [[nodiscard]] bool is_string() const noexcept {
    return std::holds_alternative<std::string>(value_);
  }
  [[nodiscard]] bool is_object() const noexcept { return std::holds_alternative<Object>(value_); }

  [[nodiscard]] const std::string& string() const;
  [[nodiscard]] std::int64_t integer() const;
  [[nodiscard]] double number() const;
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] const Array& array() const;
  [[nodiscard]] const Object& object() const;

  /// An object's member, or null when there is none; throws when this is no object.
  [[nodiscard]] const Json* find(std::string_view key) const;
  /// An object's member; throws when there is none.
  [[nodiscard]] const Json& at(std::string_view key) const;

 private:
  friend class JsonParser;
  std::variant<std::monostate, bool, double, std::string, Array, Object> value_;
};

}  // namespace mnistkit::detail
