/* mnistkit's C API.
 *
 * Nothing is thrown across it, nothing is printed and nothing aborts. Every call that can fail
 * returns a mnistkit_status; mnistkit_last_error() then says what was given, what was wanted and
 * what to do.
 *
 * Images are N * 784 contiguous bytes, 0 = background, 255 = ink. Logits are N * 10 floats.
 *
 * Structs that may grow, at their end, go across with the size that the program was compiled with:
 * a program and a library of different versions fit in both directions. The functions that end in
 * _sized take it; the macros of the same names without that give it.
 */
#ifndef MNISTKIT_H
#define MNISTKIT_H

#include <stddef.h>
#include <stdint.h>

#include "mnistkit/export.h"
#include "mnistkit/version.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MNISTKIT_IMAGE_BYTES 784
#define MNISTKIT_CLASSES 10

typedef enum mnistkit_status {
  MNISTKIT_OK = 0,
  MNISTKIT_INVALID_ARGUMENT = 1, /* the call was wrong: a size, a null pointer, an option */
  MNISTKIT_CLOSED = 2,           /* the handle was closed, never opened, or opened before a fork */
  MNISTKIT_NOT_FOUND = 3,        /* a file or folder is not there */
  MNISTKIT_BAD_ARTIFACT = 4,     /* an artifact's file is damaged, or is not ours */
  MNISTKIT_NEWER_SCHEMA = 5,     /* the artifact was written by a newer mnistkit */
  MNISTKIT_UNAVAILABLE = 6,      /* the device, or the precision in this artifact, is not there */
  MNISTKIT_CHECK_FAILED = 7,     /* the self-check against the golden digits failed */
  MNISTKIT_OUT_OF_MEMORY = 8,    /* an allocation failed, on the host or on the device */
  MNISTKIT_RUNTIME = 9,          /* the runtime underneath failed */
  MNISTKIT_CANCELLED = 10        /* a request was cancelled before it ran */
} mnistkit_status;

/* The class with the highest logit, and its softmax probability. It will not grow. */
typedef struct mnistkit_prediction {
  int32_t label;
  float probability;
} mnistkit_prediction;

/* What came of running an artifact's golden digits. It may grow; what the library does not know is
 * 0 then. */
typedef struct mnistkit_self_check {
  uint64_t total;      /* golden digits run */
  uint64_t agree;      /* of them, with the class that the reference logits give */
  uint64_t correct;    /* of them, with the class that was drawn */
  float max_abs_diff;  /* largest |logit - reference logit| */
  float mean_abs_diff; /* mean of |logit - reference logit| */
  float tolerance;     /* what max_abs_diff may be at this precision */
  int32_t passed;      /* 1 or 0 */
} mnistkit_self_check;

/* The version of the library that is loaded; MNISTKIT_VERSION_STRING is that of this header. */
MNISTKIT_API const char* mnistkit_version(void);

/* A status's name, as in "bad_artifact"; "unknown" for a number that is none. */
MNISTKIT_API const char* mnistkit_status_name(mnistkit_status status);

/* The text of the last error in the calling thread, "" if there was none. It stays valid until
 * the thread's next failing call. */
MNISTKIT_API const char* mnistkit_last_error(void);

/* ---- The libtorch runner: link mnistkit::runner ------------------------------------------- */

/* A handle: never dereferenced, so a stale one is refused with MNISTKIT_CLOSED. */
typedef struct mnistkit_runner mnistkit_runner;

/* It may grow. In a field that comes later, 0 means what was done before there was one; a library
 * that does not know a field refuses any other value. */
typedef struct mnistkit_runner_options {
  size_t struct_size;    /* set by mnistkit_runner_options_init: its size in this program */
  const char* device;    /* "cpu" (default), "cuda" or "cuda:N" */
  const char* precision; /* "fp32" (default), "fp16" or "int8" */
  int32_t threads;       /* CPU threads of the process; 0 (default) leaves libtorch's alone */
  int32_t verify;        /* 1 (default): run the golden digits on open */
  const int64_t* warmup; /* batch sizes to warm up; NULL (default) is {1} */
  size_t warmup_count;
  int64_t max_batch;   /* longest batch given to libtorch at once; 0 (default) chooses */
  int32_t cuda_graphs; /* 1 (default): on a GPU, record the warm-up sizes as CUDA graphs */
  int32_t reserved;    /* 0 (default); the place of a later option */
} mnistkit_runner_options;

/* Sets the defaults in the first struct_size bytes of *options. NULL is allowed. */
MNISTKIT_API void mnistkit_runner_options_init_sized(mnistkit_runner_options* options,
                                                     size_t struct_size);

/* mnistkit_runner_options_init(&options) sets the defaults. The function itself, for whoever loads
 * it by name, writes the struct of version 0.1.0: up to and with `reserved`. */
MNISTKIT_API void mnistkit_runner_options_init(mnistkit_runner_options* options);
#define mnistkit_runner_options_init(options) \
  mnistkit_runner_options_init_sized((options), sizeof(mnistkit_runner_options))

/* Opens an artifact folder. `path` is UTF-8; `options` may be NULL. On failure *runner is NULL. */
MNISTKIT_API mnistkit_status mnistkit_runner_open(const char* path,
                                                  const mnistkit_runner_options* options,
                                                  mnistkit_runner** runner);

/* Writes image_bytes / 784 * 10 logits; logit_count must be exactly that. Safe from any number of
 * threads on one handle. */
MNISTKIT_API mnistkit_status mnistkit_runner_logits(mnistkit_runner* runner, const uint8_t* images,
                                                    size_t image_bytes, float* logits,
                                                    size_t logit_count);

/* Writes one prediction an image; prediction_count must be image_bytes / 784. Safe as above. */
MNISTKIT_API mnistkit_status mnistkit_runner_classify(mnistkit_runner* runner,
                                                      const uint8_t* images, size_t image_bytes,
                                                      mnistkit_prediction* predictions,
                                                      size_t prediction_count);

/* Runs the artifact's golden digits. MNISTKIT_CHECK_FAILED if they do not come out right; the
 * report is written then too, report_size bytes of it. Safe as above. */
MNISTKIT_API mnistkit_status mnistkit_runner_self_check_sized(mnistkit_runner* runner,
                                                              mnistkit_self_check* report,
                                                              size_t report_size);

/* mnistkit_runner_self_check(runner, &report) does it. The function itself, for whoever loads it by
 * name, writes the struct of version 0.1.0: up to and with `passed`. */
MNISTKIT_API mnistkit_status mnistkit_runner_self_check(mnistkit_runner* runner,
                                                        mnistkit_self_check* report);
#define mnistkit_runner_self_check(runner, report) \
  mnistkit_runner_self_check_sized((runner), (report), sizeof(mnistkit_self_check))

/* Writes the edition of the int8 definition (docs/explanations/int8.md) that the net is of, 0 where
 * the precision is not int8. Edition 1 may give other digits on a CPU without an int8 dot product.
 */
MNISTKIT_API mnistkit_status mnistkit_runner_int8_edition(mnistkit_runner* runner,
                                                          int32_t* edition);

/* Closes the handle. Calls that run on it in other threads finish unharmed, and the last of them
 * frees the model. NULL is allowed. */
MNISTKIT_API mnistkit_status mnistkit_runner_close(mnistkit_runner* runner);

/* How many devices mnistkit_runner_open can be given here and now; at least 1, the CPU. */
MNISTKIT_API size_t mnistkit_runner_device_count(void);

/* Writes the name of device `index` ("cpu", "cuda:0", ...) and a zero byte into `name`. */
MNISTKIT_API mnistkit_status mnistkit_runner_device_name(size_t index, char* name,
                                                         size_t name_size);

/* The libtorch that the runner was compiled against, as in "2.15.0". */
MNISTKIT_API const char* mnistkit_runner_torch_version(void);

#ifdef __cplusplus
}
#endif

#endif /* MNISTKIT_H */
