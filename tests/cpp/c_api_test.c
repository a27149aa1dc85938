/* The C API from C99: answers, error codes, null pointers, stale handles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mnistkit/mnistkit.h"

static int failures = 0;

static void check(int ok, int line, const char* what) {
  if (ok) return;
  fprintf(stderr, "%s:%d: false: %s (last error: %s)\n", __FILE__, line, what,
          mnistkit_last_error());
  ++failures;
}

#define CHECK(condition) check((condition), __LINE__, #condition)

static uint8_t images[4097 * MNISTKIT_IMAGE_BYTES];
static float logits[4097 * MNISTKIT_CLASSES];
static mnistkit_prediction predictions[4097];

static void wrong_calls(const char* artifact, mnistkit_runner* runner) {
  mnistkit_runner* none = (mnistkit_runner*)&failures;
  mnistkit_runner_options options;
  const int64_t zero = 0;
  char name[4];

  CHECK(mnistkit_runner_logits(runner, NULL, 784, logits, 10) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(strstr(mnistkit_last_error(), "null") != NULL);
  CHECK(mnistkit_runner_logits(runner, images, 784, NULL, 10) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_logits(runner, images, 783, logits, 10) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(strstr(mnistkit_last_error(), "783") != NULL);
  CHECK(mnistkit_runner_logits(runner, images, 784, logits, 9) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_logits(runner, images, SIZE_MAX, logits, 9) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_classify(runner, images, 784, NULL, 1) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_classify(runner, images, 784, predictions, 2) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_self_check(runner, NULL) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_logits(NULL, images, 784, logits, 10) == MNISTKIT_CLOSED);
  CHECK(mnistkit_runner_logits(none, images, 784, logits, 10) == MNISTKIT_CLOSED);
  CHECK(mnistkit_runner_close(NULL) == MNISTKIT_OK);

  CHECK(mnistkit_runner_open(artifact, NULL, NULL) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_open(NULL, NULL, &none) == MNISTKIT_INVALID_ARGUMENT && none == NULL);
  CHECK(mnistkit_runner_open("/nowhere/at/all", NULL, &none) == MNISTKIT_NOT_FOUND);
  memset(&options, 0, sizeof options);
  CHECK(mnistkit_runner_open(artifact, &options, &none) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(strstr(mnistkit_last_error(), "options_init") != NULL);
  mnistkit_runner_options_init(NULL);
  mnistkit_runner_options_init(&options);
  options.device = "cuda:99";
  CHECK(mnistkit_runner_open(artifact, &options, &none) == MNISTKIT_UNAVAILABLE);
  mnistkit_runner_options_init(&options);
  options.precision = "fp64";
  CHECK(mnistkit_runner_open(artifact, &options, &none) == MNISTKIT_INVALID_ARGUMENT);
  mnistkit_runner_options_init(&options);
  options.warmup = &zero;
  options.warmup_count = 1;
  CHECK(mnistkit_runner_open(artifact, &options, &none) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(none == NULL);

  CHECK(mnistkit_runner_device_count() >= 1);
  CHECK(mnistkit_runner_device_name(0, name, sizeof name) == MNISTKIT_OK);
  CHECK(strcmp(name, "cpu") == 0);
  CHECK(mnistkit_runner_device_name(0, name, 3) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_device_name(0, NULL, 4) == MNISTKIT_INVALID_ARGUMENT);
  CHECK(mnistkit_runner_device_name(1000, name, sizeof name) == MNISTKIT_INVALID_ARGUMENT);
}

static void right_calls(mnistkit_runner* runner) {
  mnistkit_self_check report;
  CHECK(mnistkit_runner_self_check(runner, &report) == MNISTKIT_OK);
  CHECK(report.passed == 1 && report.total > 0 && report.agree == report.total);
  CHECK(mnistkit_runner_logits(runner, images, 0, logits, 0) == MNISTKIT_OK);
  CHECK(mnistkit_runner_logits(runner, NULL, 0, NULL, 0) == MNISTKIT_OK);
  CHECK(mnistkit_runner_logits(runner, images, sizeof images, logits, 4097 * 10) == MNISTKIT_OK);
  CHECK(memcmp(logits, logits + 10, 10 * sizeof(float)) == 0);
  CHECK(mnistkit_runner_classify(runner, images, sizeof images, predictions, 4097) == MNISTKIT_OK);
  CHECK(predictions[0].label == predictions[4096].label);
  CHECK(predictions[0].probability > 0.0F && predictions[0].probability <= 1.0F);
}

int main(void) {
  const char* artifact = getenv("MNISTKIT_TEST_ARTIFACT");
  mnistkit_runner* runner = NULL;
  mnistkit_runner* second = NULL;
  if (artifact == NULL) {
    fprintf(stderr, "set MNISTKIT_TEST_ARTIFACT to an artifact folder\n");
    return 1;
  }
  CHECK(strcmp(mnistkit_version(), MNISTKIT_VERSION_STRING) == 0);
  CHECK(strcmp(mnistkit_last_error(), "") == 0);
  CHECK(strcmp(mnistkit_status_name(MNISTKIT_OK), "ok") == 0);
  CHECK(strcmp(mnistkit_status_name(MNISTKIT_RUNTIME), "runtime") == 0);
  CHECK(strcmp(mnistkit_status_name((mnistkit_status)99), "unknown") == 0);
  CHECK(strlen(mnistkit_runner_torch_version()) > 0);

  CHECK(mnistkit_runner_open(artifact, NULL, &runner) == MNISTKIT_OK);
  if (runner == NULL) return 1;
  wrong_calls(artifact, runner);
  right_calls(runner);

  CHECK(mnistkit_runner_close(runner) == MNISTKIT_OK);
  CHECK(mnistkit_runner_open(artifact, NULL, &second) == MNISTKIT_OK);
  CHECK(second != runner);
  CHECK(mnistkit_runner_logits(runner, images, 784, logits, 10) == MNISTKIT_CLOSED);
  CHECK(mnistkit_runner_close(runner) == MNISTKIT_CLOSED);
  CHECK(mnistkit_runner_close(second) == MNISTKIT_OK);
  return failures > 100 ? 100 : failures;
}
