// The pool: threads that wait for a job. One job runs at a time, and the thread that brings it
// works at it too.
#pragma once

#include <cstddef>

#include "mnistkit/engine.h"

namespace mnistkit::engine {

using Task = void (*)(void* argument, std::size_t index);

// Calls task(argument, 0) in this thread and, at the same time, the same in those of the pool's
// threads that are up before this one is done; returns when all of these calls have. At most
// `helpers` sleeping threads are woken. Waits for a job that another thread has brought before.
void run_in_pool(mnistkit_engine_pool& pool, std::size_t helpers, Task task, void* argument);

// Whether the pool was made in another process: its threads are not in this one.
bool is_of_another_process(const mnistkit_engine_pool& pool);

}  // namespace mnistkit::engine
