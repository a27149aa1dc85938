// The smallest program with mnistkit::Runner: prints the digit of each picture in a raw file, which
// holds 784 bytes a picture, row after row, 0 = background, 255 = ink.
//
//   mnistkit-example-classify ARTIFACT FILE
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "mnistkit/runner.hpp"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " ARTIFACT FILE\n";
    return 2;
  }
  try {
    const mnistkit::Runner runner(argv[1]);  // reads, checks and warms up the model: once
    std::ifstream file(argv[2], std::ios::binary);
    const std::vector<std::uint8_t> images(std::istreambuf_iterator<char>(file), {});
    for (const mnistkit::Prediction& digit : runner.classify(images)) {
      std::cout << digit.label << '\n';
    }
  } catch (const mnistkit::Error& error) {
    std::cerr << mnistkit::to_string(error.code()) << ": " << error.what() << '\n';
    return 1;
  }
}
