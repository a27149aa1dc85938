/* The C export as a filter: images on stdin, their logits as raw floats on stdout.
 * -DMODEL_RUN=mnistkit_..._run -DMODEL_SCRATCH=... name the net. */
#include <stdint.h>
#include <stdio.h>

void MODEL_RUN(const uint8_t* image, float* logits, void* scratch);

static uint32_t scratch[(MODEL_SCRATCH + 3) / 4];

int main(void) {
  uint8_t image[28 * 28];
  float logits[10];
  while (fread(image, sizeof image, 1, stdin) == 1) {
    MODEL_RUN(image, logits, scratch);
    if (fwrite(logits, sizeof logits, 1, stdout) != 1) return 1;
  }
  return 0;
}
