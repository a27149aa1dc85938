// How the camera was held: the one EXIF tag that changes what a picture shows.
#include "image/formats.hpp"

namespace mnistkit::image {
namespace {

std::size_t load(Bytes bytes, std::size_t at, std::size_t count, bool little) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value = value << 8 | bytes[at + (little ? count - 1 - i : i)];
  }
  return value;
}

/// The tag in a TIFF structure; 1 where it is not there or the structure is damaged.
int from_tiff(Bytes tiff) {
  const bool little = has(tiff, 0, std::string_view("II*\0", 4));
  if (tiff.size() < 8 || (!little && !has(tiff, 0, std::string_view("MM\0*", 4)))) return 1;
  const std::size_t folder = load(tiff, 4, 4, little);
  if (folder > tiff.size() || tiff.size() - folder < 2) return 1;
  const std::size_t entries = load(tiff, folder, 2, little);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t at = folder + 2 + 12 * i;
    if (at + 12 > tiff.size()) return 1;
    constexpr std::size_t kOrientation = 0x0112, kShort = 3;
    if (load(tiff, at, 2, little) == kOrientation && load(tiff, at + 2, 2, little) == kShort) {
      return static_cast<int>(load(tiff, at + 8, 2, little));
    }
  }
  return 1;
}

int from_png(Bytes file) {
  for (std::size_t at = 8; file.size() - at >= 12;) {
    const std::size_t length = load(file, at, 4, false);
    if (length > file.size() - at - 12) return 1;
    if (has(file, at + 4, "eXIf")) return from_tiff(file.subspan(at + 8, length));
    at += length + 12;
  }
  return 1;
}

int from_jpeg(Bytes file) {
  constexpr std::uint8_t kApp1 = 0xe1, kStartOfScan = 0xda;
  for (std::size_t at = 2; at + 4 <= file.size() && file[at] == 0xff;) {
    if (file[at + 1] == 0xff) {  // filling
      ++at;
      continue;
    }
    const std::size_t length = load(file, at + 2, 2, false);
    if (file[at + 1] == kStartOfScan || length < 2 || length > file.size() - at - 2) return 1;
    const Bytes segment = file.subspan(at + 4, length - 2);
    if (file[at + 1] == kApp1 && has(segment, 0, std::string_view("Exif\0\0", 6))) {
      return from_tiff(segment.subspan(6));
    }
    at += length + 2;
  }
  return 1;
}

}  // namespace

int orientation(Bytes file, Kind kind) {
  return kind == Kind::png ? from_png(file) : kind == Kind::jpeg ? from_jpeg(file) : 1;
}

}  // namespace mnistkit::image
