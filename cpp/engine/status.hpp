// Errors of the C API: a status, and a text for mnistkit_engine_last_error().
#pragma once

#include "mnistkit/engine.h"

namespace mnistkit::engine {

// Keeps the text for the calling thread and returns `status`.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
mnistkit_engine_status fail(mnistkit_engine_status status, const char* format, ...);

}  // namespace mnistkit::engine
