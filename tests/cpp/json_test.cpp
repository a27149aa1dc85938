// The JSON reader: values, and text that it must refuse.
#include "common/json.hpp"

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
                              {"wrong kind", wrong_kind},
                              {"malformed", malformed},
                              {"deep nesting", deep_nesting}});
}
