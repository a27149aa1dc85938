#include "core/json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <set>

#include "core/decimal.hpp"
#include "mnistkit/error.hpp"

namespace mnistkit::detail {
namespace {

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&out](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | code >> 6), byte(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 0x3f)), byte(0x80 | (code & 0x3f));
  } else {
    byte(0xf0 | code >> 18), byte(0x80 | (code >> 12 & 0x3f));
    byte(0x80 | (code >> 6 & 0x3f)), byte(0x80 | (code & 0x3f));
  }
}

/// Length of the UTF-8 character that the text begins with, 0 where it is none (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (lead < 0xc0 || lead > 0xf7 || text.size() < length) return 0;
  std::uint32_t code = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  static constexpr std::uint32_t kLeast[] = {0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return code < kLeast[length - 2] || surrogate || code > 0x10ffff ? 0 : length;
}

template <class T>
const T& wanted(const T* value, const char* kind) {
  if (value == nullptr) {
    throw Error(ErrorCode::bad_artifact,
                std::string("JSON: wanted ") + kind + ", got another kind");
  }
  return *value;
}

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json document() {
    Json value = this->value(0);
    skip_space();
    if (at_ != text_.size()) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    const std::string_view before = text_.substr(0, at_);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t newline = before.rfind('\n');
    const std::size_t column = newline == std::string_view::npos ? at_ + 1 : at_ - newline;
    throw Error(ErrorCode::bad_artifact, "JSON, line " + std::to_string(line) + ", column " +
                                             std::to_string(column) + ": " + why);
  }

  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }

  bool take(char wanted) {
    if (peek() != wanted || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json value(std::size_t depth) {
    if (depth > Json::kMaxDepth) {
      fail("nested deeper than " + std::to_string(Json::kMaxDepth) + " levels");
    }
    skip_space();
    Json json;
    switch (peek()) {
      case '{':
        json.value_ = object(depth);
        break;
      case '[':
        json.value_ = array(depth);
        break;
      case '"':
        json.value_ = string();
        break;
      case 't':
        if (!take("true")) fail("wanted a value");
        json.value_ = true;
        break;
      case 'f':
        if (!take("false")) fail("wanted a value");
        json.value_ = false;
        break;
      case 'n':
        if (!take("null")) fail("wanted a value");
        break;
      default:
        json.value_ = number();
    }
    return json;
  }

  Json::Object object(std::size_t depth) {
    Json::Object members;
    std::set<std::string, std::less<>> seen;  // not a hash table: no text makes it slow
    take('{');
    skip_space();
    if (take('}')) return members;
    do {
      skip_space();
      if (peek() != '"') fail("wanted a key in quotes");
      std::string key = string();
      if (!seen.insert(key).second) fail("key '" + key + "' twice");
      skip_space();
      if (!take(':')) fail("wanted ':'");
      members.emplace_back(std::move(key), value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take('}')) fail("wanted ',' or '}'");
    return members;
  }

  Json::Array array(std::size_t depth) {
    Json::Array items;
    take('[');
    skip_space();
    if (take(']')) return items;
    do {
      items.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take(']')) fail("wanted ',' or ']'");
    return items;
  }

  std::string string() {
    std::string out;
    take('"');
    while (true) {
      if (at_ >= text_.size()) fail("string without an end");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c == '\\') {
        escape(out);
        continue;
      }
      --at_;
      const std::size_t length = utf8_length(text_.substr(at_));
      if (length == 0) fail("a string that is not UTF-8");
      out.append(text_, at_, length);
      at_ += length;
    }
  }

  void escape(std::string& out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    const char name = peek();
    const std::size_t index = kNames.find(name);
    if (at_ < text_.size() && index != kNames.npos) {
      ++at_;
      out.push_back(kValues[index]);
      return;
    }
    if (!take('u')) fail("unknown escape");
    std::uint32_t code = hex4();
    if (code >= 0xdc00 && code < 0xe000) fail("second half of a surrogate pair alone");
    if (code >= 0xd800 && code < 0xdc00) {
      const std::uint32_t low = take("\\u") ? hex4() : 0;
      if (low < 0xdc00 || low >= 0xe000) fail("first half of a surrogate pair alone");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    const std::string_view digits = text_.substr(std::min(at_, text_.size()), 4);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc() || end != digits.data() + 4) fail("wanted four hexadecimal digits");
    at_ += 4;
    return code;
  }

  double number() {
    const std::size_t start = at_;
    const auto digits = [this] {
      const std::size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      if (at_ == first) fail("wanted a value");
    };
    take('-');
    if (!take('0')) digits();
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
    const auto value = parse_decimal(text_.substr(start, at_ - start));
    if (!value || !std::isfinite(*value)) fail("number out of range");
    return *value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

const std::string& Json::string() const {
  return wanted(std::get_if<std::string>(&value_), "a string");
}

double Json::number() const { return wanted(std::get_if<double>(&value_), "a number"); }

std::int64_t Json::integer() const {
  const double value = number();
  if (std::trunc(value) != value || std::abs(value) > 9007199254740992.0) {  // 2^53
    throw Error(ErrorCode::bad_artifact, "JSON: wanted a whole number");
  }
  return static_cast<std::int64_t>(value);
}

bool Json::boolean() const { return wanted(std::get_if<bool>(&value_), "true or false"); }

const Json::Array& Json::array() const { return wanted(std::get_if<Array>(&value_), "a list"); }

const Json::Object& Json::object() const {
  return wanted(std::get_if<Object>(&value_), "an object");
}

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : object()) {
    if (name == key) return &value;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) {
    throw Error(ErrorCode::bad_artifact, "JSON: member '" + std::string(key) + "' is missing");
  }
  return *value;
}

}  // namespace mnistkit::detail
