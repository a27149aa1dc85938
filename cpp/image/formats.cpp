#include "image/formats.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "image/refuse.hpp"

namespace mnistkit {
namespace image {
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

void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

void refuse_unbuilt(const std::string& format, const std::string& package) {
  throw Error(ErrorCode::unavailable, "this build cannot read " + format +
                                          ": its library was not there when it was compiled; "
                                          "install it (Debian: apt-get install " +
                                          package + ") and compile again");
}

void check_size(std::size_t width, std::size_t height) {
  const std::string size = std::to_string(width) + " by " + std::to_string(height) + " pixels";
  if (std::min(width, height) < 4) {
    refuse("the picture is " + size +
           "; wanted at least 4 by 4: give a picture of one handwritten digit with some empty "
           "paper around it");
  }
  if (width > kMaxPixels || height > kMaxPixels / width) {
    refuse("the picture is " + size + "; wanted at most " + std::to_string(kMaxPixels) +
           " in all: scale it down or crop it to the digit");
  }
}

void check(const Picture& picture) {
  check_size(picture.width, picture.height);
  const std::size_t channels = picture.channels;
  if ((channels != 1 && channels != 3 && channels != 4) ||
      picture.pixels.size() != picture.width * picture.height * channels) {
    refuse("the picture has " + std::to_string(picture.pixels.size()) + " bytes for " +
           std::to_string(picture.width) + " by " + std::to_string(picture.height) +
           " pixels and " + std::to_string(channels) +
           " channels; wanted width * height * channels, with 1, 3 or 4 channels");
  }
}

std::vector<std::uint8_t> to_bytes(const std::vector<std::uint16_t>& values) {
  const std::uint32_t most = *std::max_element(values.begin(), values.end());
  const std::uint32_t range = most <= 4095 ? 4095 : 65535;
  std::vector<std::uint8_t> bytes(values.size());
  std::transform(values.begin(), values.end(), bytes.begin(), [range](std::uint32_t value) {
    return static_cast<std::uint8_t>((value * 255 + range / 2) / range);
  });
  return bytes;
}

Picture upright(Picture picture, int orientation) {
  if (orientation <= 1 || orientation > 8) return picture;
  const bool turned = orientation >= 5;
  Picture out{turned ? picture.height : picture.width, turned ? picture.width : picture.height,
              picture.channels, std::vector<std::uint8_t>(picture.pixels.size())};
  const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (std::size_t y = 0; y < out.height; ++y) {
    for (std::size_t x = 0; x < out.width; ++x) {
      const std::size_t u = turned ? y : x, v = turned ? x : y;
      const std::size_t column = right ? picture.width - 1 - u : u;
      const std::size_t row = down ? picture.height - 1 - v : v;
      std::copy_n(picture.pixels.data() + (row * picture.width + column) * picture.channels,
                  picture.channels, out.pixels.data() + (y * out.width + x) * picture.channels);
    }
  }
  return out;
}

}  // namespace image

std::string picture_formats() {
  std::string names = "BMP, PNM";
  if (image::has_jpeg()) names = "JPEG, " + names;
  if (image::has_png()) names = "PNG, " + names;
  return names;
}

ImageFormat parse_image_format(std::string_view text) {
  if (text == "auto") return ImageFormat::automatic;
  if (text == "idx") return ImageFormat::idx;
  if (text == "picture") return ImageFormat::picture;
  if (text == "raw") return ImageFormat::raw;
  image::refuse("format: got '" + std::string(text) + "', wanted auto, idx, picture or raw");
}

Picture decode_picture(std::span<const std::uint8_t> file) {
  using image::Kind;
  const image::Sniffed found = image::sniff(file);
  switch (found.kind) {
    case Kind::png:
      return image::upright(image::decode_png(file), image::orientation(file, found.kind));
    case Kind::jpeg:
      return image::upright(image::decode_jpeg(file), image::orientation(file, found.kind));
    case Kind::bmp:
      return image::decode_bmp(file);
    case Kind::pnm:
      return image::decode_pnm(file);
    default:
      break;
  }
  image::refuse((found.name.empty() ? "not a picture in a known format"
                                    : "a file of the format " + found.name) +
                "; wanted a picture (" + picture_formats() + "): convert it");
}

std::vector<std::uint8_t> read_images(std::span<const std::uint8_t> file, ImageFormat format,
                                      bool invert) {
  using image::Kind;
  const image::Sniffed found = image::sniff(file);
  const bool automatic = format == ImageFormat::automatic;
  if (format == ImageFormat::picture || (automatic && found.kind != Kind::gzip &&
                                         found.kind != Kind::idx && found.kind != Kind::unknown)) {
    const auto image = to_mnist(decode_picture(file), invert);
    return {image.begin(), image.end()};
  }
  constexpr std::size_t kLimit = (std::size_t{1} << 30) + 16;
  std::vector<std::uint8_t> content;
  // Under `raw` it takes a whole gzip header: a picture may begin with any two bytes.
  const bool packed = found.kind == Kind::gzip &&
                      (format != ImageFormat::raw ||
                       (image::has(file, 2, "\x08") && file.size() > 3 && file[3] < 32));
  if (packed) {
    content = image::gunzip(file, kLimit);
    file = content;
  }
  if (automatic && image::sniff(file).kind != Kind::idx) {
    const std::string name = image::sniff(file).name;
    image::refuse(std::string(packed ? "gzip of " : "") +
                  (file.empty()   ? "nothing: the file is empty"
                   : name.empty() ? "no known format"
                                  : "the format " + name) +
                  "; wanted an IDX file of images or a picture (" + picture_formats() +
                  "); bytes without a header are read with the format raw");
  }
  std::vector<std::uint8_t> images;
  if (format != ImageFormat::raw) {
    images = image::decode_idx(file);
  } else {
    if (file.empty() || file.size() % kImageBytes != 0) {
      image::refuse("raw: got " + std::to_string(file.size()) +
                    " bytes, wanted N * 784 with N of at least 1");
    }
    images.assign(file.begin(), file.end());
  }
  if (invert) {
    for (std::uint8_t& pixel : images) pixel = static_cast<std::uint8_t>(255 - pixel);
  }
  return images;
}

}  // namespace mnistkit
