/* The same as classify.cpp, in C99 through the C API.
 *
 *   mnistkit-example-classify-c ARTIFACT FILE
 */
#include <stdio.h>

#include "mnistkit/mnistkit.h"

static int failed(void) {
  fprintf(stderr, "%s\n", mnistkit_last_error());
  return 1;
}

int main(int argc, char** argv) {
  uint8_t image[MNISTKIT_IMAGE_BYTES];
  mnistkit_runner* runner;
  FILE* file;

  if (argc != 3) {
    fprintf(stderr, "usage: %s ARTIFACT FILE\n", argv[0]);
    return 2;
  }
  if (mnistkit_runner_open(argv[1], NULL, &runner) != MNISTKIT_OK) return failed();
  file = fopen(argv[2], "rb");
  if (file == NULL) {
    perror(argv[2]);
    mnistkit_runner_close(runner);
    return 1;
  }
  while (fread(image, sizeof image, 1, file) == 1) {
    mnistkit_prediction digit;
    if (mnistkit_runner_classify(runner, image, sizeof image, &digit, 1) != MNISTKIT_OK) {
      fclose(file);
      return failed();
    }
    printf("%d\n", (int)digit.label);
  }
  fclose(file);
  return mnistkit_runner_close(runner) == MNISTKIT_OK ? 0 : failed();
}
