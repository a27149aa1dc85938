// Fuzzes the engine's loader and, with what it lets through, every kernel set: with libFuzzer as
// CONTRIBUTING.md says; without (-DREPLAY), a program that runs files and mutations of them.
//
// Checksums are made right before parsing, or nearly every mutation would end there; one input in
// eight keeps its own. Images, scratch and logits are allocated to the byte, so that the address
// sanitizer sees any step past them; sets must agree where the net is int8.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/crc32.hpp"
#include "mnistkit/engine.h"

namespace {

using mnistkit::engine::crc32;

constexpr std::size_t kLargestRun = 60'000;  // bytes of scratch
#ifdef REPLAY
constexpr int kMutations = 20;
#endif

std::uint64_t read64(const std::byte* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void seal(std::byte* data, std::size_t size) {
  if (size < 160) return;
  for (std::size_t entry = 64; entry < 160; entry += 32) {
    const std::uint64_t at = read64(data + entry + 8), length = read64(data + entry + 16);
    if (at > size || length > size - at) continue;
    const std::uint32_t crc = crc32(0, data + at, static_cast<std::size_t>(length));
    std::memcpy(data + entry + 4, &crc, sizeof crc);
  }
  std::memset(data + 28, 0, 4);
  const std::uint32_t crc = crc32(0, data, 160);
  std::memcpy(data + 28, &crc, sizeof crc);
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

std::vector<float> run(const mnistkit_engine* engine, std::size_t count) {
  const std::size_t image_bytes = count * MNISTKIT_ENGINE_IMAGE_BYTES;
  const std::size_t scratch_size = mnistkit_engine_scratch_size(engine, count);
  const std::unique_ptr<std::uint8_t[]> images(new std::uint8_t[image_bytes]);
  const std::unique_ptr<std::uint8_t[]> scratch(new std::uint8_t[scratch_size]);
  for (std::size_t i = 0; i < image_bytes; ++i) {
    images[i] = static_cast<std::uint8_t>(i * 2654435761u >> 13);
  }
  std::vector<float> logits(count * MNISTKIT_ENGINE_CLASSES);
  if (mnistkit_engine_run(engine, images.get(), count, logits.data(), scratch.get(),
                          scratch_size) != MNISTKIT_ENGINE_OK) {
    std::abort();
  }
  return logits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  const std::size_t room = (size + 63) / 64 * 64;
  const std::unique_ptr<void, Free> memory(std::aligned_alloc(64, room == 0 ? 64 : room));
  auto* data = static_cast<std::byte*>(memory.get()) + (room - size) / 64 * 64;
  if (size != 0) std::memcpy(data, input, size);
  if (size == 0 || input[size - 1] % 8 != 0) seal(data, size);
  // Two sets an input: the reference, and one of the others in turn.
  const std::size_t last = mnistkit_engine_kernel_count() - 1, other = size % last;
  std::vector<float> wanted;
  for (const std::size_t k : {last, other}) {
    if (!mnistkit_engine_kernel_supported(k)) continue;
    mnistkit_engine* engine = nullptr;
    if (mnistkit_engine_open(data, size, mnistkit_engine_kernel_name(k), &engine) !=
        MNISTKIT_ENGINE_OK) {
      return 0;
    }
    // Large nets take a second in plain code under a sanitizer.
    if (mnistkit_engine_scratch_size(engine, 1) < kLargestRun) {
      const std::vector<float> logits = run(engine, 1);
      if (wanted.empty()) wanted = logits;
      const bool int8 = std::strcmp(mnistkit_engine_precision(engine), "int8") == 0;
      if (int8 && logits != wanted) std::abort();
      if (k == other) run(engine, 17);
    }
    mnistkit_engine_close(engine);
  }
  return 0;
}

#ifdef REPLAY
int main(int argc, char** argv) {
  std::uint32_t state = 1;
  const auto random = [&state](std::size_t below) {
    state = state * 1664525u + 1013904223u;
    return static_cast<std::size_t>((std::uint64_t{state} * below) >> 32);
  };
  std::size_t runs = 0;
  for (int i = 1; i < argc; ++i) {
    std::FILE* file = std::fopen(argv[i], "rb");
    if (!file) return 2;
    std::vector<std::uint8_t> bytes(std::size_t{1} << 20);
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
    std::fclose(file);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    for (int mutation = 0; mutation < kMutations && !bytes.empty(); ++mutation, ++runs) {
      std::vector<std::uint8_t> changed = bytes;
      for (std::size_t n = 1 + random(3); n > 0; --n) {
        const std::size_t bound = random(3) != 0 && bytes.size() > 800 ? 800 : bytes.size();
        changed[random(bound)] = static_cast<std::uint8_t>(random(256));
      }
      LLVMFuzzerTestOneInput(changed.data(), changed.size());
    }
  }
  std::printf("%zu mutations of %d files\n", runs, argc - 1);
  return 0;
}
#endif
