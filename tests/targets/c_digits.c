/* The C export, run on a host or on a device under an emulator: images come in an array, logits
 * go out as the hexadecimal bits of each float, a line an image. -DMODEL_RUN=mnistkit_..._run
 * -DMODEL_SCRATCH=... name the net; digits.h holds DIGITS images. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "digits.h"

void MODEL_RUN(const uint8_t* image, float* logits, void* scratch);

static uint32_t scratch[(MODEL_SCRATCH + 3) / 4];

#ifdef COUNT_INSTRUCTIONS
uint32_t instructions(void);
#endif

int main(void) {
  float logits[10];
#ifdef COUNT_INSTRUCTIONS
  const uint32_t start = instructions();
  MODEL_RUN(digits[0], logits, scratch);
  printf("instructions %lu\n", (unsigned long)(instructions() - start));
#endif
  for (int n = 0; n < DIGITS; ++n) {
    memset(scratch, 0xA5, sizeof scratch);
    MODEL_RUN(digits[n], logits, scratch);
    for (int i = 0; i < 10; ++i) {
      uint32_t bits;
      memcpy(&bits, &logits[i], sizeof bits);
      printf("%08lx ", (unsigned long)bits);
    }
    printf("\n");
  }
  return 0;
}
