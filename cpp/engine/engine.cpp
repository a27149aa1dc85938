// The C API: opening, running and closing.
#include "engine.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "byte_order.hpp"
#include "format.hpp"
#include "kernels/reference.hpp"
#include "mnistkit/version.h"
#include "status.hpp"

using namespace mnistkit::engine;

namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 26;
constinit thread_local char last_error[256] = "";

bool make_plans(mnistkit_engine& engine) {
  const KernelSet& set = *engine.kernels;
  if (&set == &kReference) {
    engine.scratch_size = reference_scratch_size(engine.model);
    return true;
  }
  const Paths& paths = engine.model.precision == Precision::int8 ? *set.int8 : *set.fp32;
  engine.single_path = &paths.single;
  engine.batch_path = &paths.batch;
  engine.single = make_plan(engine.model, paths.single.lanes);
  if (!engine.single) return false;
  engine.batch = paths.batch.run == paths.single.run ? engine.single
                                                     : make_plan(engine.model, paths.batch.lanes);
  if (!engine.batch) return false;
  engine.scratch_size = engine.single->scratch_size;
  return true;
}

// From how many images on a batch, its last lanes idle, is faster than one at a time.
std::size_t batch_from(const mnistkit_engine& engine) {
  return engine.batch->lanes.images - engine.batch->lanes.images / 8;
}

mnistkit_engine_status open_bytes(const void* data, std::size_t size, const char* kernels,
                                  void* owned, mnistkit_engine** engine) {
  const char* error = "";
  const KernelSet* set = choose_kernels(kernels, &error);
  if (!set) return fail(MNISTKIT_ENGINE_BAD_KERNELS, "kernels: %s", error);
  auto* made = static_cast<mnistkit_engine*>(std::calloc(1, sizeof(mnistkit_engine)));
  if (!made) return fail(MNISTKIT_ENGINE_OUT_OF_MEMORY, "out of memory");
  const auto fault = parse(static_cast<const std::byte*>(data), size, made->model);
  if (fault.rule != 0) {
    std::free(made);
    const bool newer = fault.rule == kVersionRule;
    return fail(newer ? MNISTKIT_ENGINE_NEWER_FILE : MNISTKIT_ENGINE_BAD_FILE,
                "rule %d of the .mnk format: %s; %sexport the net again", fault.rule, fault.text,
                newer ? "update mnistkit, or " : "");
  }
  made->kernels = set;
  if (!to_native_order(made->model) || !make_plans(*made)) {
    mnistkit_engine_close(made);
    return fail(MNISTKIT_ENGINE_OUT_OF_MEMORY, "out of memory");
  }
  made->owned = owned;
  *engine = made;
  return MNISTKIT_ENGINE_OK;
}

}  // namespace

namespace mnistkit::engine {

std::byte* aligned(void* scratch, std::size_t align) {
  const auto address = reinterpret_cast<std::uintptr_t>(scratch);
  return static_cast<std::byte*>(scratch) + (align - address % align) % align;
}

void run_images(const mnistkit_engine& engine, const std::uint8_t* images, std::size_t n,
                float* logits, std::byte* scratch) {
  if (!engine.single) {
    for (std::size_t i = 0; i < n; ++i) {
      run_reference(engine.model, images + i * kImageBytes, scratch, logits + i * kClasses);
    }
    return;
  }
  const std::size_t lanes = engine.batch->lanes.images, from = batch_from(engine);
  while (n > 0) {
    const bool batched = n >= from;
    const Plan& plan = batched ? *engine.batch : *engine.single;
    const std::size_t most = batched ? lanes : plan.lanes.images;
    const std::size_t count = n < most ? n : most;
    (batched ? engine.batch_path : engine.single_path)->run(plan, images, count, scratch, logits);
    images += count * kImageBytes;
    logits += count * kClasses;
    n -= count;
  }
}

mnistkit_engine_status check_run(const mnistkit_engine* engine, const std::uint8_t* images,
                                 const float* logits, const void* scratch, std::size_t wanted,
                                 std::size_t scratch_size) {
  if (!engine) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "engine is NULL");
  if (!images || !logits || !scratch) {
    return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "images, logits or scratch is NULL");
  }
  if (scratch_size >= wanted) return MNISTKIT_ENGINE_OK;
  return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "scratch: got %zu bytes, wanted %zu", scratch_size,
              wanted);
}

mnistkit_engine_status fail(mnistkit_engine_status status, const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(last_error, sizeof last_error, format, values);
  va_end(values);
  return status;
}

}  // namespace mnistkit::engine

extern "C" {

const char* mnistkit_engine_version(void) { return MNISTKIT_VERSION_STRING; }

const char* mnistkit_engine_last_error(void) { return last_error; }

mnistkit_engine_status mnistkit_engine_open(const void* data, size_t size, const char* kernels,
                                            mnistkit_engine** engine) {
  if (!engine) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "engine is NULL");
  *engine = nullptr;
  if (!data) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "data is NULL");
  if (reinterpret_cast<std::uintptr_t>(data) % 64 != 0) {
    return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT,
                "data at %p: wanted it aligned to 64 bytes; or use mnistkit_engine_open_file",
                data);
  }
  return open_bytes(data, size, kernels, nullptr, engine);
}

mnistkit_engine_status mnistkit_engine_open_file(const char* path, const char* kernels,
                                                 mnistkit_engine** engine) {
  if (!engine) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "engine is NULL");
  *engine = nullptr;
  if (!path) return fail(MNISTKIT_ENGINE_INVALID_ARGUMENT, "path is NULL");
  std::FILE* file = std::fopen(path, "rb");
  if (!file) return fail(MNISTKIT_ENGINE_NOT_FOUND, "%.200s: cannot be opened", path);
  long size = -1;
  if (std::fseek(file, 0, SEEK_END) == 0) size = std::ftell(file);
  std::rewind(file);
  if (size < 0 || static_cast<std::size_t>(size) > kMaxFile) {
    std::fclose(file);
    return fail(MNISTKIT_ENGINE_BAD_FILE, "%.180s: not a file of at most 64 MiB", path);
  }
  const auto count = static_cast<std::size_t>(size);
  void* bytes = std::aligned_alloc(64, count / 64 * 64 + 64);
  const std::size_t got = bytes ? std::fread(bytes, 1, count, file) : 0;
  std::fclose(file);
  if (!bytes) return fail(MNISTKIT_ENGINE_OUT_OF_MEMORY, "out of memory");
  mnistkit_engine_status status = MNISTKIT_ENGINE_OK;
  if (got != count) {
    status = fail(MNISTKIT_ENGINE_NOT_FOUND, "%.200s: cannot be read", path);
  } else {
    status = open_bytes(bytes, count, kernels, bytes, engine);
  }
  if (status != MNISTKIT_ENGINE_OK) std::free(bytes);
  return status;
}

size_t mnistkit_engine_scratch_size(const mnistkit_engine* engine, size_t max_batch) {
  if (!engine) return 0;
  std::size_t size = engine->scratch_size;
  if (engine->batch && max_batch >= batch_from(*engine) && engine->batch->scratch_size > size) {
    size = engine->batch->scratch_size;
  }
  return size + kScratchAlign - 1;
}

mnistkit_engine_status mnistkit_engine_run(const mnistkit_engine* engine, const uint8_t* images,
                                           size_t n, float* logits, void* scratch,
                                           size_t scratch_size) {
  if (engine && n == 0) return MNISTKIT_ENGINE_OK;
  const auto status = check_run(engine, images, logits, scratch,
                                mnistkit_engine_scratch_size(engine, n), scratch_size);
  if (status == MNISTKIT_ENGINE_OK) {
    run_images(*engine, images, n, logits, aligned(scratch, kScratchAlign));
  }
  return status;
}

const char* mnistkit_engine_precision(const mnistkit_engine* engine) {
  if (!engine) return "";
  return engine->model.precision == Precision::int8 ? "int8" : "fp32";
}

int mnistkit_engine_edition(const mnistkit_engine* engine) {
  const bool int8 = engine && engine->model.precision == Precision::int8;
  return int8 ? static_cast<int>(engine->model.version) : 0;
}

const char* mnistkit_engine_net(const mnistkit_engine* engine) {
  return engine ? engine->model.name : "";
}

const char* mnistkit_engine_kernels(const mnistkit_engine* engine) {
  return engine ? engine->kernels->name : "";
}

void mnistkit_engine_close(mnistkit_engine* engine) {
  if (!engine) return;
  if (engine->batch != engine->single) free_plan(engine->batch);
  free_plan(engine->single);
  std::free(engine->model.copies);
  std::free(engine->owned);
  std::free(engine);
}

size_t mnistkit_engine_kernel_count(void) {
  std::size_t count = 0;
  kernel_sets(count);
  return count;
}

const char* mnistkit_engine_kernel_name(size_t index) {
  std::size_t count = 0;
  const KernelSet* const* sets = kernel_sets(count);
  return index < count ? sets[index]->name : nullptr;
}

const char* mnistkit_engine_kernel_description(size_t index) {
  std::size_t count = 0;
  const KernelSet* const* sets = kernel_sets(count);
  return index < count ? sets[index]->description : nullptr;
}

int mnistkit_engine_kernel_supported(size_t index) {
  std::size_t count = 0;
  const KernelSet* const* sets = kernel_sets(count);
  return index < count && sets[index]->supported() ? 1 : 0;
}

uint64_t mnistkit_engine_kernel_peak(size_t index, int int8, uint64_t steps) {
  if (!mnistkit_engine_kernel_supported(index)) return 0;
  std::size_t count = 0;
  const KernelSet& set = *kernel_sets(count)[index];
  const Paths* paths = int8 ? set.int8 : set.fp32;
  return paths && paths->peak ? paths->peak(steps) : 0;
}

}  // extern "C"
