// engine_digits MODEL.mnk KERNELS: logits for the images on stdin, as raw floats, on stdout.
#include <cstdio>
#include <vector>

#include "mnistkit/engine.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  mnistkit_engine* engine = nullptr;
  if (mnistkit_engine_open_file(argv[1], argv[2], &engine) != MNISTKIT_ENGINE_OK) {
    std::fprintf(stderr, "%s\n", mnistkit_engine_last_error());
    return 1;
  }
  std::vector<unsigned char> images;
  unsigned char image[MNISTKIT_ENGINE_IMAGE_BYTES];
  while (std::fread(image, sizeof image, 1, stdin) == 1) {
    images.insert(images.end(), image, image + sizeof image);
  }
  const std::size_t n = images.size() / sizeof image;
  std::vector<float> logits(n * MNISTKIT_ENGINE_CLASSES);
  std::vector<unsigned char> scratch(mnistkit_engine_scratch_size(engine, n));
  if (mnistkit_engine_run(engine, images.data(), n, logits.data(), scratch.data(),
                          scratch.size()) != MNISTKIT_ENGINE_OK) {
    std::fprintf(stderr, "%s\n", mnistkit_engine_last_error());
    return 1;
  }
  std::fwrite(logits.data(), sizeof(float), logits.size(), stdout);
  mnistkit_engine_close(engine);
  return 0;
}
