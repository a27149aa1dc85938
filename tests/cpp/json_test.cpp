// The JSON reader: values, and text that it must refuse.
#include "core/json.hpp"

#include <chrono>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "check.hpp"

namespace {

using mnistkit::detail::Json;

void values() {
  const Json json = Json::parse(
      R"( {"a": [1, -2.5e1, true, false, null], "b": {"c": "x\n\u00e9\ud83d\ude00\\"}, "": {}} )");
  const Json::Array& list = json.at("a").array();
  CHECK_EQ(list.size(), 5U);
  CHECK_EQ(list[0].integer(), 1);
  CHECK_EQ(list[1].number(), -25.0);
  CHECK(list[2].boolean());
  CHECK(!list[3].boolean());
  CHECK(list[4].is_null());
  CHECK_EQ(json.at("b").at("c").string(), "x\n\xc3\xa9\xf0\x9f\x98\x80\\");
  CHECK(json.find("d") == nullptr);
  CHECK(json.at("").object().empty());
}

void numbers() {
  const auto read = [](const std::string& text) { return Json::parse(text).number(); };
  CHECK_EQ(read("0"), 0.0);
  CHECK(std::signbit(read("-0")));
  CHECK_EQ(read("0.1"), 0.1);
  CHECK_EQ(read("-12.75E+2"), -1275.0);
  CHECK_EQ(read("1.7976931348623157e308"), std::numeric_limits<double>::max());
  CHECK_EQ(read("9007199254740993"), 9007199254740992.0);          // a tie, to even
  CHECK_EQ(read("9007199254740993.0000001"), 9007199254740994.0);  // just above it
  CHECK_EQ(read("0." + std::string(400, '0') + "5e401"), 5.0);
  CHECK_EQ(read("5" + std::string(400, '0') + "e-400"), 5.0);
  // Too small is 0 or a denormal, as in Python.
  CHECK_EQ(read("1e-400"), 0.0);
  CHECK(std::signbit(read("-1e-400")));
  CHECK_EQ(read("1e-99999999999999999999999"), 0.0);
  CHECK_EQ(read("5e-324"), std::numeric_limits<double>::denorm_min());
  CHECK_EQ(read("2.5e-320"), 2.5e-320);
  for (const char* text : {"1e999", "-1e999", "1.8e308", "1e99999999999999999999999"}) {
    CHECK_ERROR(bad_artifact, "out of range", Json::parse(text));
  }
}

/// The C locale of the program may have a decimal comma: tests/test_cpp.py gives one.
void locale() {
  const char* name = std::getenv("MNISTKIT_TEST_LOCALE");
  if (name == nullptr) return;
  CHECK(std::setlocale(LC_ALL, name) != nullptr);
  CHECK_EQ(std::string(std::localeconv()->decimal_point), ",");
  numbers();
  std::setlocale(LC_ALL, "C");
}

void utf8() {
  const auto quoted = [](const std::string& text) { return '"' + text + '"'; };
  for (const char* text : {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK_EQ(Json::parse(quoted(text)).string(), text);
  }
  for (const char* text :
       {"\x80", "\xbf", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff"}) {
    CHECK_ERROR(bad_artifact, "not UTF-8", Json::parse(quoted(text)));
  }
  // The last byte is outside the text.
  CHECK_ERROR(bad_artifact, "not UTF-8", Json::parse(std::string_view("\"\xe2\x82\xac", 3)));
}

void many_keys() {
  const auto object = [](std::size_t keys) {
    std::string text = "{";
    for (std::size_t i = 0; i < keys; ++i) text += "\"k" + std::to_string(i) + "\":1,";
    return text;
  };
  const auto start = std::chrono::steady_clock::now();
  CHECK_EQ(Json::parse(object(100000) + "\"\":2}").object().size(), 100001U);
  CHECK_ERROR(bad_artifact, "key 'k0' twice", Json::parse(object(100000) + "\"k0\":2}"));
  // A tenth of a second each; in quadratic time it was a minute.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

void wrong_kind() {
  const Json json = Json::parse(R"({"n": 1.5, "s": "x"})");
  CHECK_ERROR(bad_artifact, "whole number", json.at("n").integer());
  CHECK_ERROR(bad_artifact, "wanted a number", json.at("s").number());
  CHECK_ERROR(bad_artifact, "wanted a string", json.at("n").string());
  CHECK_ERROR(bad_artifact, "wanted a list", json.at("n").array());
  CHECK_ERROR(bad_artifact, "wanted an object", json.at("n").find("x"));
  CHECK_ERROR(bad_artifact, "'x' is missing", json.at("x"));
  CHECK_ERROR(bad_artifact, "whole number", Json::parse("1e300").integer());
}

void malformed() {
  for (const char* text : {"",
                           "{",
                           "[1,",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":1,}",
                           "[1,]",
                           "{a:1}",
                           "tru",
                           "nul",
                           "'x'",
                           "\"abc",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "1e",
                           "-",
                           "--1",
                           "0x10",
                           "1e999",
                           "NaN",
                           "Infinity",
                           "1 2",
                           "{} x",
                           "{\"a\":1,\"a\":2}",
                           "\"a\nb\""}) {
    CHECK_ERROR(bad_artifact, "JSON, line", Json::parse(text));
  }
  CHECK_ERROR(bad_artifact, "line 1", Json::parse(std::string_view("{}\0", 3)));
  CHECK_ERROR(bad_artifact, "line 2, column 3", Json::parse("[\n1 x]"));
}

void deep_nesting() {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK(!Json::parse(nested(Json::kMaxDepth)).array().empty());
  CHECK_ERROR(bad_artifact, "nested deeper", Json::parse(nested(1000000)));
}

}  // namespace

int main() {
  return mnistkit::test::run({{"values", values},
                              {"numbers", numbers},
                              {"locale", locale},
                              {"utf-8", utf8},
                              {"many keys", many_keys},
                              {"wrong kind", wrong_kind},
                              {"malformed", malformed},
                              {"deep nesting", deep_nesting}});
}
