/* consumer_c ARTIFACT FILE: the digits of a raw file, in C. */
#include <mnistkit/mnistkit.h>
#include <stdio.h>

int main(int argc, char** argv) {
  mnistkit_runner* runner = NULL;
  uint8_t image[MNISTKIT_IMAGE_BYTES];
  mnistkit_prediction digit;
  mnistkit_status status;
  FILE* file;

  if (argc != 3) return 2;
  file = fopen(argv[2], "rb");
  if (file == NULL) return 2;
  status = mnistkit_runner_open(argv[1], NULL, &runner);
  while (status == MNISTKIT_OK && fread(image, sizeof image, 1, file) == 1) {
    status = mnistkit_runner_classify(runner, image, sizeof image, &digit, 1);
    if (status == MNISTKIT_OK) printf("%d\n", (int)digit.label);
  }
  if (status != MNISTKIT_OK) fprintf(stderr, "%s\n", mnistkit_last_error());
  fclose(file);
  mnistkit_runner_close(runner);
  return status;
}
