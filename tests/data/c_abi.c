/* Opens, checks and closes a runner with structs that stand before guard bytes.
 *   program ARTIFACT [set]   prints a line for each step; "set" sets an option of the newer header
 * Compiled against this mnistkit.h and against older and newer ones; see tests/test_c_abi.py. */
#include <stdio.h>
#include <string.h>

#include "mnistkit/mnistkit.h"

#ifdef BY_NAME /* as a program does that was compiled before the macros, or that loads by name */
#undef mnistkit_runner_options_init
#undef mnistkit_runner_self_check
#endif

#define GUARD 256

static int untouched(const unsigned char* guard) {
  size_t i;
  for (i = 0; i < GUARD; ++i) {
    if (guard[i] != 0xa5) return 0;
  }
  return 1;
}

int main(int argc, char** argv) {
  struct {
    mnistkit_runner_options value;
    unsigned char guard[GUARD];
  } options;
  struct {
    mnistkit_self_check value;
    unsigned char guard[GUARD];
  } report;
  mnistkit_runner* runner = NULL;
  if (argc < 2) return 2;
  memset(&options, 0xa5, sizeof options);
  memset(&report, 0xa5, sizeof report);
  mnistkit_runner_options_init(&options.value);
  printf("init %d %s\n", (int)options.value.struct_size, options.value.precision);
  options.value.threads = 1;
#ifdef NEWER
  printf("later %d\n", (int)options.value.later);
  if (argc > 2 && strcmp(argv[2], "set") == 0) options.value.later = 1;
#endif
  printf("open %s\n", mnistkit_status_name(mnistkit_runner_open(argv[1], &options.value, &runner)));
  if (runner == NULL) {
    printf("error %s\n", mnistkit_last_error());
  } else {
    printf("check %s", mnistkit_status_name(mnistkit_runner_self_check(runner, &report.value)));
    printf(" %d of %d\n", (int)report.value.correct, (int)report.value.total);
#ifdef NEWER
    printf("more %d\n", (int)report.value.more);
#endif
    mnistkit_runner_close(runner);
  }
  printf("guards %d %d\n", untouched(options.guard), untouched(report.guard));
  return 0;
}
