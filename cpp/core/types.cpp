#include "mnistkit/types.hpp"

#include "mnistkit/error.hpp"

namespace mnistkit {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::closed:
      return "closed";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::bad_artifact:
      return "bad_artifact";
    case ErrorCode::newer_schema:
      return "newer_schema";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::check_failed:
      return "check_failed";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::runtime:
      return "runtime";
    case ErrorCode::cancelled:
      return "cancelled";
  }
  return "unknown";
}

const char* to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::fp16:
      return "fp16";
    case Precision::int8:
      return "int8";
  }
  return "unknown";
}

Precision parse_precision(std::string_view text) {
  for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::int8}) {
    if (text == to_string(precision)) return precision;
  }
  throw Error(ErrorCode::invalid_argument,
              "precision: got '" + std::string(text) + "', wanted fp32, fp16 or int8");
}

}  // namespace mnistkit
