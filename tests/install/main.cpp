// consumer ARTIFACT FILE: the digits of a raw file, through a Runner and again through a Batcher.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <mnistkit/batcher.hpp>
#include <mnistkit/runner.hpp>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const auto runner = std::make_shared<const mnistkit::Runner>(argv[1]);
  std::ifstream file(argv[2], std::ios::binary);
  const std::vector<std::uint8_t> images(std::istreambuf_iterator<char>(file), {});
  mnistkit::Batcher batcher(runner);
  std::size_t at = 0;
  for (const mnistkit::Prediction& digit : runner->classify(images)) {
    const auto image = std::span(images).subspan(at, mnistkit::kImageBytes);
    if (batcher.classify(image).label != digit.label) return 3;
    std::printf("%d\n", digit.label);
    at += mnistkit::kImageBytes;
  }
  return 0;
} catch (const mnistkit::Error& error) {
  std::fprintf(stderr, "%s: %s\n", mnistkit::to_string(error.code()), error.what());
  return 1;
}
