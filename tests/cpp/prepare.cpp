// What mnistkit/image.hpp makes of files: for each argument one line, with the images in
// hexadecimal, or the error's code and text. A first argument --raw, --idx or --picture says what
// they are;
// --invert inverts.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "mnistkit/image.hpp"

int main(int argc, char** argv) {
  auto format = mnistkit::ImageFormat::automatic;
  bool invert = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--invert") {
      invert = true;
    } else if (argument.rfind("--", 0) == 0) {
      format = mnistkit::parse_image_format(argument.substr(2));
    } else {
      std::ifstream file(argument, std::ios::binary);
      const std::vector<std::uint8_t> content(std::istreambuf_iterator<char>(file), {});
      try {
        for (const std::uint8_t pixel : mnistkit::read_images(content, format, invert)) {
          std::printf("%02x", unsigned{pixel});
        }
        std::printf("\n");
      } catch (const mnistkit::Error& error) {
        std::printf("%s: %s\n", mnistkit::to_string(error.code()), error.what());
      }
    }
  }
}
