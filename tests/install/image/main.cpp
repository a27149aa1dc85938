// consumer_image FILE: the picture of a file as MNIST would have it, in hexadecimal.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <mnistkit/image.hpp>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<std::uint8_t> content(std::istreambuf_iterator<char>(file), {});
  for (const std::uint8_t pixel : mnistkit::to_mnist(mnistkit::decode_picture(content))) {
    std::printf("%02x", unsigned{pixel});
  }
  return 0;
} catch (const mnistkit::Error& error) {
  std::fprintf(stderr, "%s: %s\n", mnistkit::to_string(error.code()), error.what());
  return 1;
}
