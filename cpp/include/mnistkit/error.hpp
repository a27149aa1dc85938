// The one exception that mnistkit's C++ libraries throw.
#ifndef MNISTKIT_ERROR_HPP
#define MNISTKIT_ERROR_HPP

#include <stdexcept>
#include <string>

#include "mnistkit/export.h"

namespace mnistkit {

/// What went wrong; the numbers are those of `mnistkit_status` in mnistkit.h.
enum class ErrorCode {
  invalid_argument = 1,  ///< the call was wrong: a size, a null pointer, an unknown option
  closed = 2,            ///< the object was closed or moved from
  not_found = 3,         ///< a file or folder is not there
  bad_artifact = 4,      ///< an artifact's file is damaged, or is not ours
  newer_schema = 5,      ///< the artifact was written by a newer mnistkit
  unavailable = 6,       ///< the device, or the precision in this artifact, is not there
  check_failed = 7,      ///< the self-check against the golden digits failed
  out_of_memory = 8,     ///< an allocation failed, on the host or on the device
  runtime = 9,           ///< the runtime underneath failed
};

/// The code's name, as in "bad_artifact".
[[nodiscard]] MNISTKIT_API const char* to_string(ErrorCode code) noexcept;

/// Every failure. `what()` says what was given, what was wanted and what to do.
class MNISTKIT_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message);
  ~Error() override;

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace mnistkit

#endif  // MNISTKIT_ERROR_HPP
