#include "apps/arguments.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "core/decimal.hpp"

namespace mnistkit::apps {
namespace {

std::int64_t parse_number(std::string_view name, std::string_view text, std::int64_t least,
                          std::int64_t most) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    throw UsageError("--" + std::string(name) + ": got '" + std::string(text) +
                     "', wanted a whole number from " + std::to_string(least) + " to " +
                     std::to_string(most));
  }
  return number;
}

std::string short_text(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

}  // namespace

Arguments::Arguments(int argc, const char* const* argv,
                     std::initializer_list<std::string_view> options,
                     std::initializer_list<std::string_view> flags) {
  const auto has = [](const auto& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  bool only_positional = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (only_positional || argument.size() < 2 || argument[0] != '-') {
      positional_.emplace_back(argument);
      continue;
    }
    if (argument == "--") {
      only_positional = true;
      continue;
    }
    if (argument == "-h") argument = "--help";
    if (argument.substr(0, 2) != "--") {
      throw UsageError(std::string(argument) + ": unknown option; see --help");
    }
    argument.remove_prefix(2);
    const std::size_t equals = argument.find('=');
    const std::string name(argument.substr(0, equals));
    if (has(flags, name) && equals == argument.npos) {
      values_[name] = "";
    } else if (!has(options, name)) {
      throw UsageError("--" + name + ": unknown option; see --help");
    } else if (equals != argument.npos) {
      values_[name] = argument.substr(equals + 1);
    } else if (++i < argc) {
      values_[name] = argv[i];
    } else {
      throw UsageError("--" + name + ": wants a value");
    }
  }
}

bool Arguments::flag(std::string_view name) const { return values_.find(name) != values_.end(); }

std::string Arguments::value(std::string_view name, std::string_view otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string(otherwise) : found->second;
}

std::int64_t Arguments::number(std::string_view name, std::int64_t otherwise, std::int64_t least,
                               std::int64_t most) const {
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : parse_number(name, found->second, least, most);
}

double Arguments::real(std::string_view name, double otherwise, double least, double most) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return otherwise;
  const std::string& text = found->second;
  const auto number = detail::parse_decimal(text);
  if (!number || !(*number >= least && *number <= most)) {
    throw UsageError("--" + std::string(name) + ": got '" + text + "', wanted a number from " +
                     short_text(least) + " to " + short_text(most));
  }
  return *number;
}

std::vector<std::int64_t> Arguments::numbers(std::string_view name, std::string_view otherwise,
                                             std::int64_t least, std::int64_t most) const {
  const std::string text = value(name, otherwise);
  std::vector<std::int64_t> numbers;
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    numbers.push_back(parse_number(name, rest.substr(0, comma), least, most));
    if (comma == rest.npos) return numbers;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace mnistkit::apps
