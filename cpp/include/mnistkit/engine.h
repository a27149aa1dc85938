/* The engine's C API: an int8 or fp32 net from a .mnk file, run with no dependency.
 *
 * Link mnistkit::engine. Nothing is thrown across this border, nothing is printed, nothing aborts.
 * After mnistkit_engine_open nothing is allocated, and an open engine is never written to, so any
 * number of threads may run on it, each with its own scratch.
 *
 * Images are n * 784 contiguous bytes, 0 = background, 255 = ink. Logits are n * 10 floats.
 * The floating-point environment must be the default one: round to nearest, denormals kept.
 */
#ifndef MNISTKIT_ENGINE_H
#define MNISTKIT_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "mnistkit/export.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MNISTKIT_ENGINE_IMAGE_BYTES 784
#define MNISTKIT_ENGINE_CLASSES 10

typedef enum mnistkit_engine_status {
  MNISTKIT_ENGINE_OK = 0,
  MNISTKIT_ENGINE_INVALID_ARGUMENT = 1, /* a null pointer, a scratch that is too small */
  MNISTKIT_ENGINE_NOT_FOUND = 2,        /* the file cannot be read */
  MNISTKIT_ENGINE_BAD_FILE = 3,         /* a rule of docs/format.md is broken; the text names it */
  MNISTKIT_ENGINE_NEWER_FILE = 4,       /* written by a newer mnistkit */
  MNISTKIT_ENGINE_BAD_KERNELS = 5,      /* kernels that are not known, or that this CPU lacks */
  MNISTKIT_ENGINE_OUT_OF_MEMORY = 6
} mnistkit_engine_status;

typedef struct mnistkit_engine mnistkit_engine;

/* The version of the library that is loaded, as in "0.1.0". */
MNISTKIT_API const char* mnistkit_engine_version(void);

/* The text of the calling thread's last error, "" if there was none. */
MNISTKIT_API const char* mnistkit_engine_last_error(void);

/* Opens a .mnk file's bytes in place: they are not copied and must outlive the engine. `data` must
 * be aligned to 64 bytes (MNISTKIT_ENGINE_INVALID_ARGUMENT otherwise). `kernels` names a kernel
 * set; NULL or "" takes $MNISTKIT_KERNELS, and without that the fastest that the CPU has. On
 * failure *engine is NULL. */
MNISTKIT_API mnistkit_engine_status mnistkit_engine_open(const void* data, size_t size,
                                                         const char* kernels,
                                                         mnistkit_engine** engine);

/* Reads a .mnk file into memory that the engine owns, and opens it. `path` is UTF-8. */
MNISTKIT_API mnistkit_engine_status mnistkit_engine_open_file(const char* path, const char* kernels,
                                                              mnistkit_engine** engine);

/* Bytes of scratch that mnistkit_engine_run needs for batches of up to `max_batch` images; it does
 * not grow beyond a few images. 0 for a NULL engine. */
MNISTKIT_API size_t mnistkit_engine_scratch_size(const mnistkit_engine* engine, size_t max_batch);

/* Writes n * 10 logits. `scratch` may have any alignment and any contents; it must hold
 * mnistkit_engine_scratch_size(engine, n) bytes. */
MNISTKIT_API mnistkit_engine_status mnistkit_engine_run(const mnistkit_engine* engine,
                                                        const uint8_t* images, size_t n,
                                                        float* logits, void* scratch,
                                                        size_t scratch_size);

/* "fp32" or "int8"; the net's name; the kernel set in use. "" for a NULL engine. */
MNISTKIT_API const char* mnistkit_engine_precision(const mnistkit_engine* engine);
MNISTKIT_API const char* mnistkit_engine_net(const mnistkit_engine* engine);
MNISTKIT_API const char* mnistkit_engine_kernels(const mnistkit_engine* engine);

/* Closes an engine that no thread runs on any more. NULL is allowed. */
MNISTKIT_API void mnistkit_engine_close(mnistkit_engine* engine);

/* The kernel sets compiled into this library, fastest first; the last is the reference. NULL for
 * an index past the end. A set that is not supported needs a CPU that this one is not. */
MNISTKIT_API size_t mnistkit_engine_kernel_count(void);
MNISTKIT_API const char* mnistkit_engine_kernel_name(size_t index);
MNISTKIT_API const char* mnistkit_engine_kernel_description(size_t index);
MNISTKIT_API int mnistkit_engine_kernel_supported(size_t index);

#ifdef __cplusplus
}
#endif

#endif /* MNISTKIT_ENGINE_H */
