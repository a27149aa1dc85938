// Fuzzes the decoders and the preparation of pictures: with libFuzzer where MNISTKIT_SANITIZE has
// fuzzer; without (-DREPLAY), a program that runs files, their beginnings and mutations of them.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "mnistkit/image.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  // To the byte, so that the address sanitizer sees any step past it.
  const std::unique_ptr<std::uint8_t[]> data(new std::uint8_t[size]);
  std::copy(input, input + size, data.get());
  const std::span<const std::uint8_t> file(data.get(), size);
  // In turn, since each of them goes over the whole file.
  const bool raw = size % 5 == 4;
  try {
    const auto images = mnistkit::read_images(
        file, raw ? mnistkit::ImageFormat::raw : mnistkit::ImageFormat::automatic, size % 2 == 1);
    if (images.empty() || images.size() % mnistkit::kImageBytes != 0) std::abort();
  } catch (const mnistkit::Error&) {
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
  constexpr int kCuts = 12, kMutations = 40;
  std::size_t runs = 0;
  for (int i = 1; i < argc; ++i) {
    std::FILE* file = std::fopen(argv[i], "rb");
    if (!file) return 2;
    std::vector<std::uint8_t> bytes(std::size_t{1} << 20);
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
    std::fclose(file);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    for (int cut = 0; cut < kCuts; ++cut, ++runs) {
      // The header is where most is decided.
      LLVMFuzzerTestOneInput(bytes.data(), random(cut % 2 == 0 ? bytes.size() : 64));
    }
    for (int mutation = 0; mutation < kMutations; ++mutation, ++runs) {
      std::vector<std::uint8_t> changed = bytes;
      for (std::size_t n = 1 + random(3); n > 0; --n) {
        const std::size_t at =
            random(random(2) != 0 ? std::min(bytes.size(), std::size_t{120}) : bytes.size());
        changed[at] = random(2) != 0 ? static_cast<std::uint8_t>(changed[at] ^ 1U << random(8))
                                     : static_cast<std::uint8_t>(random(256));
      }
      LLVMFuzzerTestOneInput(changed.data(), changed.size());
    }
  }
  std::printf("%zu cuts and mutations of %d files\n", runs, argc - 1);
  return 0;
}
#endif
