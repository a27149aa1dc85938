// consumer_engine_cpp MODEL.mnk FILE: the digits of a raw file, by the engine on two threads.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mnistkit/engine.hpp>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const mnistkit::Engine engine(argv[1], {.threads = 2});
  std::ifstream file(argv[2], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const std::vector<std::uint8_t> images(bytes.begin(), bytes.end());
  const std::vector<float> logits = engine.logits(images);
  for (auto one = logits.begin(); one != logits.end(); one += MNISTKIT_ENGINE_CLASSES) {
    std::cout << std::max_element(one, one + MNISTKIT_ENGINE_CLASSES) - one << "\n";
  }
  return 0;
} catch (const mnistkit::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
