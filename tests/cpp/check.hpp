// A test is a program: main() runs its cases and returns how many checks failed, 0 to 100.
#pragma once

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>

#include "mnistkit/error.hpp"

namespace mnistkit::test {

inline int failures = 0;

inline void report(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  ++failures;
}

template <class A, class B>
void check_equal(const char* file, int line, const char* text, const A& got, const B& wanted) {
  if (got == wanted) return;
  std::ostringstream message;
  message << text << ": got " << got << ", wanted " << wanted;
  report(file, line, message.str());
}

/// The body must throw `Exception` with `part` in its text.
template <class Exception>
void check_throws(const char* file, int line, std::string_view part,
                  const std::function<void()>& body) {
  try {
    body();
    report(file, line, "threw nothing, wanted an exception with '" + std::string(part) + "'");
  } catch (const Exception& error) {
    if (std::string_view(error.what()).find(part) == std::string_view::npos) {
      report(file, line,
             "threw '" + std::string(error.what()) + "', wanted '" + std::string(part) + "' in it");
    }
  } catch (const std::exception& error) {
    report(file, line, "threw another type: " + std::string(error.what()));
  }
}

/// The body must throw `mnistkit::Error` with that code and with `part` in its text.
inline void check_error(const char* file, int line, ErrorCode code, std::string_view part,
                        const std::function<void()>& body) {
  check_throws<Error>(file, line, part, [&] {
    try {
      body();
    } catch (const Error& error) {
      check_equal(file, line, error.what(), std::string_view(to_string(error.code())),
                  std::string_view(to_string(code)));
      throw;
    }
  });
}

/// Runs the cases in order; an exception that nobody wanted is a failure of its case.
inline int run(std::initializer_list<std::pair<const char*, std::function<void()>>> cases) {
  for (const auto& [name, body] : cases) {
    const int before = failures;
    try {
      body();
    } catch (const std::exception& error) {
      report(name, 0, "unexpected exception: " + std::string(error.what()));
    }
    std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", name);
  }
  return std::min(failures, 100);
}

}  // namespace mnistkit::test

#define CHECK(condition) \
  ((condition) ? void() : mnistkit::test::report(__FILE__, __LINE__, "false: " #condition))
#define CHECK_EQ(got, wanted) mnistkit::test::check_equal(__FILE__, __LINE__, #got, (got), (wanted))
#define CHECK_ERROR(code, part, ...)                                               \
  mnistkit::test::check_error(__FILE__, __LINE__, mnistkit::ErrorCode::code, part, \
                              [&] { static_cast<void>(__VA_ARGS__); })
#define CHECK_THROWS(type, part, ...)                          \
  mnistkit::test::check_throws<type>(__FILE__, __LINE__, part, \
                                     [&] { static_cast<void>(__VA_ARGS__); })
