// The IDX format of the MNIST files: 0, 0, type, number of dimensions, big-endian sizes, data.
#include "image/formats.hpp"
#include "image/refuse.hpp"

namespace mnistkit::image {

std::vector<std::uint8_t> decode_idx(Bytes file) {
  if (!has(file, 0, std::string_view("\0\0\x08", 3))) {
    refuse("IDX: wanted a file of unsigned bytes, which starts with 00 00 08");
  }
  const unsigned dimensions = file.size() > 3 ? file[3] : 0;
  if (dimensions == 1) {
    refuse(
        "IDX: a file of labels (1 dimension); wanted images (3 dimensions): name MNIST's images");
  }
  if (dimensions != 3) {
    refuse("IDX: got " + std::to_string(dimensions) + " dimensions, wanted 3 (images)");
  }
  if (file.size() < 16) refuse("IDX: the header is cut short");
  std::uint64_t sizes[3];
  for (std::size_t i = 0; i < 3; ++i) {
    const std::uint8_t* at = file.data() + 4 + 4 * i;
    sizes[i] = std::uint64_t{at[0]} << 24 | std::uint64_t{at[1]} << 16 | std::uint64_t{at[2]} << 8 |
               std::uint64_t{at[3]};
  }
  if (sizes[1] != kImageSide || sizes[2] != kImageSide) {
    refuse("IDX: got images of " + std::to_string(sizes[1]) + "x" + std::to_string(sizes[2]) +
           ", wanted 28x28");
  }
  if (sizes[0] == 0) refuse("IDX: holds no images");
  const Bytes pixels = file.subspan(16);
  if (pixels.size() != sizes[0] * kImageBytes) {
    refuse("IDX: " + std::to_string(sizes[0]) + " images are " +
           std::to_string(sizes[0] * kImageBytes) + " bytes, got " + std::to_string(pixels.size()) +
           (pixels.size() < sizes[0] * kImageBytes ? "; the file is cut short"
                                                   : "; bytes follow them"));
  }
  return {pixels.begin(), pixels.end()};
}

}  // namespace mnistkit::image
