/* logits MODEL.mnk KERNELS [flush]: images on stdin, their logits as raw floats on stdout. With
 * "flush" the processor takes denormals for zero, as it does where -ffast-math was linked. */
#include <mnistkit/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

enum { BATCH = 500 };

static int flush_denormals(void) {
#if defined(__SSE2__)
  _mm_setcsr(_mm_getcsr() | 0x8040); /* FTZ and DAZ */
  return 0;
#else
  fputs("compiled without SSE2\n", stderr);
  return 1;
#endif
}

int main(int argc, char** argv) {
  static uint8_t images[BATCH][MNISTKIT_ENGINE_IMAGE_BYTES];
  static float logits[BATCH][MNISTKIT_ENGINE_CLASSES];
  mnistkit_engine* engine = NULL;
  mnistkit_engine_status status;
  size_t size, count;
  void* scratch;

  if (argc != 3 && (argc != 4 || strcmp(argv[3], "flush") != 0)) return 2;
  if (argc == 4 && flush_denormals() != 0) return 2;
  status = mnistkit_engine_open_file(argv[1], argv[2], &engine);
  size = mnistkit_engine_scratch_size(engine, BATCH);
  scratch = malloc(size);
  while (status == MNISTKIT_ENGINE_OK &&
         (count = fread(images, sizeof images[0], BATCH, stdin)) > 0) {
    status = mnistkit_engine_run(engine, images[0], count, logits[0], scratch, size);
    if (fwrite(logits, sizeof logits[0], count, stdout) != count) return 2;
  }
  if (status != MNISTKIT_ENGINE_OK) fprintf(stderr, "%s\n", mnistkit_engine_last_error());
  free(scratch);
  mnistkit_engine_close(engine);
  return (int)status;
}
