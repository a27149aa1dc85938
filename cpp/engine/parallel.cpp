// A batch in pieces, handed out to workers: threads of a pool, or ones that the caller lends.
#include <atomic>
#include <cstdint>

#include "engine.hpp"
#include "pool.hpp"
#include "status.hpp"

using namespace mnistkit::engine;

namespace {

// Workers' scratches begin that far apart or a multiple of it, so that no two share a cache line.
constexpr std::size_t kScratchStep = 128;

// A piece fills the lanes of the batch kernels. Cut there, each image goes the way that it goes in
// mnistkit_engine_run, and its logits have the same bits.
std::size_t piece_images(const mnistkit_engine& engine) {
  return engine.batch ? engine.batch->lanes.images : 1;
}

// How many workers a batch of `n` images pays for. A second one does from half a piece on.
std::size_t worker_count(const mnistkit_engine& engine, std::size_t n, std::size_t threads) {
  const std::size_t piece = piece_images(engine);
  if (n < piece + (piece + 1) / 2) return 1;
  const std::size_t pieces = n / piece + (n % piece != 0);
  return pieces < threads ? pieces : threads;
}

std::size_t worker_scratch(const mnistkit_engine& engine) {
  std::size_t size = engine.scratch_size;
  if (engine.batch && engine.batch->scratch_size > size) size = engine.batch->scratch_size;
  return (size + kScratchStep - 1) / kScratchStep * kScratchStep;
}

struct Split {
  const mnistkit_engine& engine;
  const std::uint8_t* images;
  std::size_t n;
  float* logits;
  std::byte* scratch;
  std::size_t workers;
  alignas(kScratchStep) std::atomic<std::size_t> next_image;
  std::atomic<std::size_t> next_worker, done;
};

// A worker takes pieces until there are none; whoever is late or slow takes fewer. Which scratch
// is whose is counted here: it does not depend on who calls this with which index, or how often.
void run_pieces(void* argument, std::size_t) {
  Split& split = *static_cast<Split*>(argument);
  const std::size_t worker = split.next_worker.fetch_add(1, std::memory_order_relaxed);
  if (worker >= split.workers) return;
  std::byte* scratch = split.scratch + worker * worker_scratch(split.engine);
  const std::size_t piece = piece_images(split.engine);
  std::size_t ran = 0;
  for (;;) {
    const std::size_t at = split.next_image.fetch_add(piece, std::memory_order_relaxed);
    if (at >= split.n) break;
    const std::size_t count = split.n - at < piece ? split.n - at : piece;
    run_images(split.engine, split.images + at * kImageBytes, count, split.logits + at * kClasses,
               scratch);
    ran += count;
  }
  split.done.fetch_add(ran, std::memory_order_release);
}

}  // namespace

extern "C" {

size_t mnistkit_engine_parallel_scratch_size(const mnistkit_engine* engine, size_t max_batch,
                                             size_t threads) {
  if (!engine || threads < 1 || threads > MNISTKIT_ENGINE_MAX_THREADS) return 0;
  const std::size_t workers = worker_count(*engine, max_batch, threads);
  if (workers == 1) return mnistkit_engine_scratch_size(engine, max_batch);
  const std::size_t each = worker_scratch(*engine);
  if (each > (SIZE_MAX - kScratchStep) / workers) return SIZE_MAX;
  return workers * each + kScratchStep - 1;
}

mnistkit_engine_status mnistkit_engine_run_parallel(const mnistkit_engine* engine,
                                                    mnistkit_engine_pool* pool,
                                                    const uint8_t* images, size_t n, float* logits,
                                                    void* scratch, size_t scratch_size) {
  if (!pool) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "pool is NULL");
  if (is_of_another_process(*pool)) {
    return fail(
        MNISTKIT_ENGINE_INVALID_ARGUMENT,
        "pool: it was made before a fork and has no threads in this process: make one here");
  }
  const auto run_tasks = [](void* context, std::size_t tasks, mnistkit_engine_task task,
                            void* argument) {
    run_in_pool(*static_cast<mnistkit_engine_pool*>(context), tasks - 1, task, argument);
  };
  return mnistkit_engine_run_parallel_for(engine, run_tasks, pool,
                                          mnistkit_engine_pool_threads(pool), images, n, logits,
                                          scratch, scratch_size);
}

mnistkit_engine_status mnistkit_engine_run_parallel_for(const mnistkit_engine* engine,
                                                        mnistkit_engine_parallel_for parallel_for,
                                                        void* context, size_t threads,
                                                        const uint8_t* images, size_t n,
                                                        float* logits, void* scratch,
                                                        size_t scratch_size) {
  if (!parallel_for) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "parallel_for is NULL");
  if (threads < 1 || threads > MNISTKIT_ENGINE_MAX_THREADS) {
    return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "threads: got %zu, wanted 1 to %d", threads,
                MNISTKIT_ENGINE_MAX_THREADS);
  }
  if (engine && n == 0) return MNISTKIT_ENGINE_OK;
  const auto status =
      check_run(engine, images, logits, scratch,
                mnistkit_engine_parallel_scratch_size(engine, n, threads), scratch_size);
  if (status != MNISTKIT_ENGINE_OK) return status;
  const std::size_t workers = worker_count(*engine, n, threads);
  if (workers == 1) {
    run_images(*engine, images, n, logits, aligned(scratch, kScratchAlign));
    return MNISTKIT_ENGINE_OK;
  }
  Split split{*engine, images, n, logits, aligned(scratch, kScratchStep), workers, 0, 0, 0};
  parallel_for(context, workers, run_pieces, &split);
  const std::size_t done = split.done.load(std::memory_order_acquire);
  if (done == n) return MNISTKIT_ENGINE_OK;
  return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT,
              "parallel_for: %zu of %zu images were run when it returned: it must call each of its "
              "tasks and wait for them",
              done, n);
}

}  // extern "C"
