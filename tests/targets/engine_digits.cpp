// engine_digits MODEL.mnk KERNELS: logits for the images on stdin, as raw floats, on stdout; the
// kernels that ran, on stderr. It needs the C library alone.
#include <cstdio>
#include <cstdlib>

#include "mnistkit/engine.h"

namespace {

constexpr std::size_t kMostImages = 10000, kImage = MNISTKIT_ENGINE_IMAGE_BYTES;

int fail() {
  std::fprintf(stderr, "%s\n", mnistkit_engine_last_error());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  mnistkit_engine* engine = nullptr;
  if (mnistkit_engine_open_file(argv[1], argv[2], &engine) != MNISTKIT_ENGINE_OK) return fail();
  std::fprintf(stderr, "kernels %s\n", mnistkit_engine_kernels(engine));
  auto* images = static_cast<unsigned char*>(std::malloc(kMostImages * kImage));
  const std::size_t n = images ? std::fread(images, kImage, kMostImages, stdin) : 0;
  const std::size_t count = n * MNISTKIT_ENGINE_CLASSES;
  const std::size_t scratch_size = mnistkit_engine_scratch_size(engine, n);
  auto* logits = static_cast<float*>(std::malloc((count + 1) * sizeof(float)));
  void* scratch = std::malloc(scratch_size);
  if (!images || !logits || !scratch) return 3;
  if (mnistkit_engine_run(engine, images, n, logits, scratch, scratch_size) != MNISTKIT_ENGINE_OK) {
    return fail();
  }
  std::fwrite(logits, sizeof(float), count, stdout);
  std::free(scratch);
  std::free(logits);
  std::free(images);
  mnistkit_engine_close(engine);
  return 0;
}
