#include "image/formats.hpp"

#include <algorithm>
#include <string_view>

namespace mnistkit::image {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::string_view bytes;
  Kind kind;
  const char* name;
  std::size_t at = 0;
};

// The first that fits counts.
constexpr Magic kMagics[] = {
    {"\x89PNG\r\n\x1a\n"sv, Kind::png, "PNG"},
    {"\xff\xd8\xff"sv, Kind::jpeg, "JPEG"},
    {"\x1f\x8b"sv, Kind::gzip, "gzip"},
    {"BM"sv, Kind::bmp, "BMP"},
    {"\0\0\0\x0cJXL "sv, Kind::foreign, "JPEG XL"},
    {"\xff\x0a"sv, Kind::foreign, "JPEG XL"},
    {"\0\0\0\x0cjP  "sv, Kind::foreign, "JPEG 2000"},
    {"\xff\x4f\xff\x51"sv, Kind::foreign, "JPEG 2000"},
    {"\0\0\1\0"sv, Kind::foreign, "ICO"},
    {"GIF8"sv, Kind::foreign, "GIF"},
    {"WEBP"sv, Kind::foreign, "WebP", 8},
    {"II*\0"sv, Kind::foreign, "TIFF"},
    {"MM\0*"sv, Kind::foreign, "TIFF"},
    {"II+\0"sv, Kind::foreign, "TIFF"},
    {"MM\0+"sv, Kind::foreign, "TIFF"},
    {"%PDF"sv, Kind::foreign, "PDF"},
    {"8BPS"sv, Kind::foreign, "Photoshop"},
    {"qoif"sv, Kind::foreign, "QOI"},
    {"<svg"sv, Kind::foreign, "SVG"},
    {"<?xml"sv, Kind::foreign, "XML or SVG"},
    {"\x93NUMPY"sv, Kind::foreign, "NumPy"},
    {"PK\3\4"sv, Kind::foreign, "zip"},
    {"\xfd"
     "7zXZ"sv,
     Kind::foreign, "xz"},
    {"BZh"sv, Kind::foreign, "bzip2"},
    {"\x28\xb5\x2f\xfd"sv, Kind::foreign, "zstd"},
};

bool is_pnm(Bytes file) {
  return file.size() > 2 && file[0] == 'P' && file[1] >= '1' && file[1] <= '6' &&
         (file[2] == '#' || file[2] == ' ' || (file[2] >= '\t' && file[2] <= '\r'));
}

/// The container that phones' pictures and films share, by the brands in its first box.
const char* container(Bytes file) {
  const std::size_t box = std::min(file.size(), std::size_t{file[2]} << 8 | file[3]);
  const char* name = "MP4 or MOV";
  for (std::size_t at = 8; at + 4 <= box; at += 4) {
    if (has(file, at, "avif") || has(file, at, "avis")) return "AVIF";
    for (const std::string_view brand : {"hei", "hev", "mif1", "msf1"}) {
      if (has(file, at, brand)) name = "HEIC";
    }
  }
  return name;
}

/// 0, 0, an element type of IDX, a number of dimensions.
bool is_idx(Bytes file) {
  return file.size() >= 4 && file[0] == 0 && file[1] == 0 && file[2] >= 8 && file[2] <= 14 &&
         file[3] >= 1 && file[3] <= 16;
}

}  // namespace

bool has(Bytes file, std::size_t at, std::string_view text) {
  return file.size() >= at && file.size() - at >= text.size() &&
         std::equal(text.begin(), text.end(), file.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

Sniffed sniff(Bytes file) {
  if (has(file, 4, "ftyp")) return {Kind::foreign, container(file)};
  for (const Magic& magic : kMagics) {
    if (has(file, magic.at, magic.bytes)) return {magic.kind, magic.name};
  }
  if (is_pnm(file)) return {Kind::pnm, "PNM"};
  if (is_idx(file)) return {Kind::idx, "IDX"};
  return {};
}

}  // namespace mnistkit::image
