// What the programs share: exit codes, and how a failure is told.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace mnistkit::apps {

enum ExitCode : int {
  kDone = 0,
  kCheckFailed = 1,  ///< a check failed, or an artifact is damaged
  kUsage = 2,        ///< the call was wrong, or an image is not what is wanted
  kMissing = 3,      ///< a file, a device or a precision is not there
};

/// Runs a program's body; tells on standard error what it throws and gives the exit code for it.
int run_program(std::string_view name, const std::function<int()>& body);

/// Writes a file, or standard output where `path` is "-"; throws `UsageError` if that fails.
void write_text(const std::string& path, std::string_view text);

/// Text as a JSON string, in its quotes.
[[nodiscard]] std::string json_quoted(std::string_view text);

}  // namespace mnistkit::apps
