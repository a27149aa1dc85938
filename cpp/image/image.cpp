#include "mnistkit/image.hpp"

#include "image/formats.hpp"
#include "image/refuse.hpp"

namespace mnistkit {

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
