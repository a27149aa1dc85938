// A part of a test in a child of fork(). What hangs there is killed.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <functional>
#include <string>

#include "check.hpp"

namespace mnistkit::test {

/// Whether a child may allocate, where other threads did so while it was forked. glibc's allocator
/// sees to that. AddressSanitizer's of GCC 12 does not: a lock of its own may be held for ever.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kMayForkWhileOthersAllocate = false;
#else
inline constexpr bool kMayForkWhileOthersAllocate = true;
#endif

/// Runs `body` in a child; its failed checks, exceptions, signals, or 30 seconds are a failure
/// here.
inline void in_child(const char* file, int line, const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    failures = 0;
    try {
      body();
    } catch (const std::exception& error) {
      report(file, line, "in the child: " + std::string(error.what()));
    }
    std::fflush(nullptr);
    _exit(std::min(failures, 100));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    report(file, line, "there is no child");
  } else if (WIFSIGNALED(status)) {
    report(file, line, "the child was ended by signal " + std::to_string(WTERMSIG(status)));
  } else if (WEXITSTATUS(status) != 0) {
    report(file, line, "the child had failures");
  }
}

}  // namespace mnistkit::test

#define IN_CHILD(...) mnistkit::test::in_child(__FILE__, __LINE__, [&] { __VA_ARGS__ })
