// libtorch's exceptions and warnings, kept on this side of the border.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "mnistkit/error.hpp"

namespace mnistkit::detail {

/// Swallows libtorch's warnings in this thread while it lives: a library does not print.
class QuietTorch {
 public:
  QuietTorch() noexcept : guard_(&handler()) {}

 private:
  struct Handler : c10::WarningHandler {
    void process(const c10::Warning& /*warning*/) override {}
  };
  static Handler& handler() noexcept {
    static Handler instance;
    return instance;
  }
  c10::WarningUtils::WarningHandlerGuard guard_;
};

/// Runs `body`, quietly, and throws whatever goes wrong as `Error`, saying what was being done.
template <class Body>
decltype(auto) translated(const char* doing, Body&& body) {
  const QuietTorch quiet;
  try {
    return std::forward<Body>(body)();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    throw Error(ErrorCode::out_of_memory,
                std::string(doing) + ": " + error.what_without_backtrace());
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::runtime, std::string(doing) + ": " + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, std::string(doing) + ": out of memory");
  } catch (const std::exception& error) {
    throw Error(ErrorCode::runtime, std::string(doing) + ": " + error.what());
  }
}

}  // namespace mnistkit::detail
