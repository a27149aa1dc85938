#include "apps/program.hpp"

#include <cstdio>
#include <exception>
#include <memory>

#include "apps/arguments.hpp"
#include "mnistkit/error.hpp"

namespace mnistkit::apps {
namespace {

ExitCode exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::closed:
      return kUsage;
    case ErrorCode::not_found:
    case ErrorCode::unavailable:
      return kMissing;
    default:
      return kCheckFailed;
  }
}

}  // namespace

int run_program(std::string_view name, const std::function<int()>& body) {
  const auto tell = [name](const char* message, ExitCode code) {
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(name.size()), name.data(), message);
    return static_cast<int>(code);
  };
  try {
    const int code = body();
    if (std::fflush(stdout) != 0) return tell("cannot write to standard output", kMissing);
    return code;
  } catch (const UsageError& error) {
    return tell(error.what(), kUsage);
  } catch (const Error& error) {
    return tell(error.what(), exit_code(error.code()));
  } catch (const std::exception& error) {
    return tell(error.what(), kCheckFailed);
  }
}

void write_text(const std::string& path, std::string_view text) {
  const auto close = [](std::FILE* file) { return file == stdout ? 0 : std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(
      path == "-" ? stdout : std::fopen(path.c_str(), "wb"), close);
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
      std::fflush(file.get()) != 0) {
    throw UsageError(path + ": cannot be written to");
  }
}

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out.push_back(c);
    }
  }
  return out + '"';
}

}  // namespace mnistkit::apps
