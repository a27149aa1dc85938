// consumer_core DIR FILE [PRECISION]: the digits of a raw file, by the engine on an artifact
// folder.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mnistkit/artifact.hpp>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) return 2;
  const mnistkit::Precision precision = mnistkit::parse_precision(argc == 4 ? argv[3] : "fp32");
  const mnistkit::ArtifactEngine opened = mnistkit::open_engine(argv[1], precision);
  if (!opened.warning.empty()) std::cerr << "warning: " << opened.warning << "\n";
  std::ifstream file(argv[2], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const std::vector<std::uint8_t> images(bytes.begin(), bytes.end());
  const std::vector<float> logits = opened.engine.logits(images);
  for (auto one = logits.begin(); one != logits.end(); one += mnistkit::kClasses) {
    std::cout << std::max_element(one, one + mnistkit::kClasses) - one << "\n";
  }
  return 0;
} catch (const mnistkit::Error& error) {
  std::cerr << error.what() << "\n";
  return error.code() == mnistkit::ErrorCode::not_found ? 3 : 1;
}
