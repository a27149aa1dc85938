// What every part of the C API shares: the last error, and the border that exceptions stop at.
#pragma once

#include <exception>
#include <new>

#include "mnistkit/error.hpp"
#include "mnistkit/mnistkit.h"

namespace mnistkit::detail {

/// Keeps the text for mnistkit_last_error() in this thread and returns the status.
mnistkit_status set_last_error(mnistkit_status status, const char* message) noexcept;

/// Runs `body` and turns whatever it throws into a status and a last error.
template <class Body>
mnistkit_status guarded(Body&& body) noexcept {
  try {
    body();
    return MNISTKIT_OK;
  } catch (const Error& error) {
    return set_last_error(static_cast<mnistkit_status>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return set_last_error(MNISTKIT_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return set_last_error(MNISTKIT_RUNTIME, error.what());
  } catch (...) {
    return set_last_error(MNISTKIT_RUNTIME, "an exception of an unknown type");
  }
}

}  // namespace mnistkit::detail
