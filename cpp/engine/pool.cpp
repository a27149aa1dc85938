// The pool's threads, from POSIX alone: nothing of the C++ library's own threads is linked.
#include "pool.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <new>

#include "status.hpp"

// A build for a machine without threads defines MNISTKIT_ENGINE_NO_THREADS, or is found out here.
#if !defined(MNISTKIT_ENGINE_NO_THREADS)
#if !__has_include(<pthread.h>) || !__has_include(<unistd.h>) || \
    (defined(__wasm__) && !defined(_REENTRANT))
#define MNISTKIT_ENGINE_NO_THREADS
#else
#include <pthread.h>
#include <unistd.h>
#if !defined(_POSIX_THREADS) || _POSIX_THREADS <= 0
#define MNISTKIT_ENGINE_NO_THREADS
#endif
#endif
#endif
#if !defined(MNISTKIT_ENGINE_NO_THREADS) && !defined(__wasm__)
#include <signal.h>
#endif

namespace mnistkit::engine {
namespace {

// Two lines of a cache, which some processors fetch together.
constexpr std::size_t kLine = 128;

#if !defined(MNISTKIT_ENGINE_NO_THREADS)
// The state of the pool in one word: how many of its threads work at the job, whether others may
// still begin, whether all shall end, and the job's number, which may wrap around: a thread that
// takes a job for one that it knows leaves it to the others.
constexpr std::uint32_t kCount = (1u << 11) - 1;
constexpr std::uint32_t kOpen = 1u << 11;
constexpr std::uint32_t kStop = 1u << 12;
constexpr std::uint32_t kJob = 1u << 13;
static_assert(MNISTKIT_ENGINE_MAX_THREADS <= kCount);
#endif

}  // namespace
}  // namespace mnistkit::engine

using namespace mnistkit::engine;

struct mnistkit_engine_pool {
  std::size_t threads;  // with the one that brings the job
#if !defined(MNISTKIT_ENGINE_NO_THREADS)
  pid_t process;
  pthread_mutex_t turn;  // held by the thread whose job runs
  pthread_mutex_t lock;  // for the two conditions
  pthread_cond_t job_is_there, job_is_done;
  std::size_t started;
  pthread_t thread[MNISTKIT_ENGINE_MAX_THREADS];
  Task task;  // written while no thread works and none may begin
  void* argument;
  alignas(kLine) std::atomic<std::uint32_t> state;
  alignas(kLine) std::atomic<std::uint32_t> sleeping;  // threads that wait for job_is_there
  std::atomic<bool> waiting;                           // whether somebody does for job_is_done
#endif
};

#if !defined(MNISTKIT_ENGINE_NO_THREADS)

namespace mnistkit::engine {
namespace {

// Waiting is first done by looking again and again, about 20 microseconds long: to sleep and to be
// woken takes longer than a small batch.
constexpr int kSpins = 1000;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` takes no time on most cores
#endif
}

bool is_new(std::uint32_t state, std::uint32_t seen) {
  if (state & kStop) return true;
  return (state & kOpen) != 0 && state / kJob != seen;
}

// The state of a job that is not `seen`, or with kStop in it.
std::uint32_t wait_for_job(mnistkit_engine_pool& pool, std::uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    const std::uint32_t state = pool.state.load(std::memory_order_acquire);
    if (is_new(state, seen)) return state;
    relax();
  }
  pthread_mutex_lock(&pool.lock);
  // Whoever changes the state looks at `sleeping` after that: one of the two sees the other.
  pool.sleeping.fetch_add(1);
  std::uint32_t state = pool.state.load();
  while (!is_new(state, seen)) {
    pthread_cond_wait(&pool.job_is_there, &pool.lock);
    state = pool.state.load();
  }
  pool.sleeping.fetch_sub(1);
  pthread_mutex_unlock(&pool.lock);
  return state;
}

void* work(void* argument) {
  auto& pool = *static_cast<mnistkit_engine_pool*>(argument);
  std::uint32_t seen = 0;
  for (;;) {
    std::uint32_t state = wait_for_job(pool, seen);
    if (state & kStop) return nullptr;
    // It may have been closed, or be another one, meanwhile.
    if (!pool.state.compare_exchange_strong(state, state + 1, std::memory_order_acq_rel)) continue;
    seen = state / kJob;
    pool.task(pool.argument, 0);
    // From here on the job may be gone; the pool is there as long as this thread is.
    const std::uint32_t before = pool.state.fetch_sub(1);
    if ((before & (kOpen | kCount)) == 1 && pool.waiting.load()) {
      pthread_mutex_lock(&pool.lock);
      pthread_cond_signal(&pool.job_is_done);
      pthread_mutex_unlock(&pool.lock);
    }
  }
}

void wait_for_threads(mnistkit_engine_pool& pool) {
  for (int i = 0; i < kSpins; ++i) {
    if ((pool.state.load(std::memory_order_acquire) & kCount) == 0) return;
    relax();
  }
  pthread_mutex_lock(&pool.lock);
  pool.waiting.store(true);
  while ((pool.state.load() & kCount) != 0) pthread_cond_wait(&pool.job_is_done, &pool.lock);
  pool.waiting.store(false);
  pthread_mutex_unlock(&pool.lock);
}

void wake(mnistkit_engine_pool& pool, std::size_t count) {
  const std::size_t sleeping = pool.sleeping.load();
  if (sleeping == 0) return;
  // A thread that counts itself as sleeping holds the lock until it does sleep.
  pthread_mutex_lock(&pool.lock);
  pthread_mutex_unlock(&pool.lock);
  if (count >= sleeping) {
    pthread_cond_broadcast(&pool.job_is_there);
  } else {
    for (std::size_t i = 0; i < count; ++i) pthread_cond_signal(&pool.job_is_there);
  }
}

void end_threads(mnistkit_engine_pool& pool) {
  pool.state.fetch_or(kStop);
  wake(pool, pool.started);
  for (std::size_t i = 0; i < pool.started; ++i) pthread_join(pool.thread[i], nullptr);
  pthread_cond_destroy(&pool.job_is_there);
  pthread_cond_destroy(&pool.job_is_done);
  pthread_mutex_destroy(&pool.turn);
  pthread_mutex_destroy(&pool.lock);
}

// Returns 0, or the error of the first thread that could not be started.
int start_threads(mnistkit_engine_pool& pool) {
  pthread_mutex_init(&pool.turn, nullptr);
  pthread_mutex_init(&pool.lock, nullptr);
  pthread_cond_init(&pool.job_is_there, nullptr);
  pthread_cond_init(&pool.job_is_done, nullptr);
  pool.process = getpid();
#if !defined(__wasm__)
  // Signals are for the program's own threads, but for those that a thread brings upon itself and
  // the profiler's. A new thread has the mask of the one that starts it.
  sigset_t masked, kept;
  sigfillset(&masked);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) {
    sigdelset(&masked, own);
  }
  pthread_sigmask(SIG_BLOCK, &masked, &kept);
#endif
  int error = 0;
  while (error == 0 && pool.started + 1 < pool.threads) {
    error = pthread_create(&pool.thread[pool.started], nullptr, work, &pool);
    if (error == 0) ++pool.started;
  }
#if !defined(__wasm__)
  pthread_sigmask(SIG_SETMASK, &kept, nullptr);
#endif
  return error;
}

}  // namespace

void run_in_pool(mnistkit_engine_pool& pool, std::size_t helpers, Task task, void* argument) {
  pthread_mutex_lock(&pool.turn);
  pool.task = task;
  pool.argument = argument;
  const std::uint32_t number = pool.state.load(std::memory_order_relaxed) / kJob + 1;
  pool.state.store(number * kJob | kOpen);
  wake(pool, helpers);
  task(argument, 0);
  pool.state.fetch_and(~kOpen);
  wait_for_threads(pool);
  pthread_mutex_unlock(&pool.turn);
}

bool is_of_another_process(const mnistkit_engine_pool& pool) { return pool.process != getpid(); }

}  // namespace mnistkit::engine

#else

namespace mnistkit::engine {

void run_in_pool(mnistkit_engine_pool&, std::size_t, Task task, void* argument) {
  task(argument, 0);
}

bool is_of_another_process(const mnistkit_engine_pool&) { return false; }

}  // namespace mnistkit::engine

#endif

extern "C" {

mnistkit_engine_status mnistkit_engine_pool_create(size_t threads, mnistkit_engine_pool** pool) {
  if (!pool) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "pool is NULL");
  *pool = nullptr;
  if (threads < 1 || threads > MNISTKIT_ENGINE_MAX_THREADS) {
    return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "threads: got %zu, wanted 1 to %d", threads,
                MNISTKIT_ENGINE_MAX_THREADS);
  }
#if defined(MNISTKIT_ENGINE_NO_THREADS)
  if (threads > 1) {
    return fail(MNISTKIT_ENGINE_UNAVAILABLE,
                "threads: got %zu, and this build of the engine has none: ask for 1", threads);
  }
#endif
  static_assert(alignof(mnistkit_engine_pool) <= kLine);
  void* memory =
      std::aligned_alloc(kLine, (sizeof(mnistkit_engine_pool) + kLine - 1) / kLine * kLine);
  if (!memory) return fail(MNISTKIT_ENGINE_OUT_OF_MEMORY, "out of memory");
  auto* made = new (memory) mnistkit_engine_pool{};
  made->threads = threads;
#if !defined(MNISTKIT_ENGINE_NO_THREADS)
  if (const int error = start_threads(*made)) {
    const std::size_t started = made->started;
    mnistkit_engine_pool_close(made);
    return fail(MNISTKIT_ENGINE_UNAVAILABLE,
                "threads: got %zu, and the system starts no more than %zu (error %d): ask for "
                "fewer, or raise its limit of threads or memory",
                threads, started + 1, error);
  }
#endif
  *pool = made;
  return MNISTKIT_ENGINE_OK;
}

size_t mnistkit_engine_pool_threads(const mnistkit_engine_pool* pool) {
  return pool ? pool->threads : 0;
}

void mnistkit_engine_pool_close(mnistkit_engine_pool* pool) {
  if (!pool) return;
#if !defined(MNISTKIT_ENGINE_NO_THREADS)
  // After a fork there are no threads to wait for, and they may have held the locks.
  if (!is_of_another_process(*pool)) end_threads(*pool);
#endif
  std::free(pool);
}

}  // extern "C"
