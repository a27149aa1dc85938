// mnistkit/image.hpp: what files are taken for, IDX and raw bytes, uncompressed pictures, and
// pixels made into MNIST's. Compressed formats and equality with Python: tests/test_cpp_images.py.
#include <algorithm>
#include <string>

#include "check.hpp"
#include "mnistkit/image.hpp"

namespace {

using mnistkit::ImageFormat;
using mnistkit::Picture;
using mnistkit::read_images;
using Bytes = std::vector<std::uint8_t>;

Bytes bytes(std::string_view text, std::size_t more = 0, std::uint8_t fill = 0) {
  Bytes out(text.begin(), text.end());
  out.resize(out.size() + more, fill);
  return out;
}

Bytes idx(std::uint32_t count, std::size_t pixels) {
  Bytes out = {0, 0, 8, 3};
  for (const std::uint32_t size : {count, 28U, 28U}) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      out.push_back(static_cast<std::uint8_t>(size >> shift));
    }
  }
  out.resize(out.size() + pixels, 5);
  return out;
}

void idx_files() {
  CHECK(read_images(idx(2, 2 * 784)) == Bytes(2 * 784, 5));
  CHECK(read_images(idx(1, 784), ImageFormat::idx, true) == Bytes(784, 250));
  CHECK_ERROR(invalid_argument, "cut short", read_images(idx(2, 2 * 784 - 1)));
  // 16 bytes of header and 768 of 1568: a multiple of 784 is no raw file.
  CHECK_ERROR(invalid_argument, "cut short", read_images(idx(2, 768)));
  CHECK_ERROR(invalid_argument, "got 1569; bytes follow", read_images(idx(2, 2 * 784 + 1)));
  CHECK_ERROR(invalid_argument, "4294967295 images", read_images(idx(0xffffffff, 10)));
  CHECK_ERROR(invalid_argument, "holds no images", read_images(idx(0, 0)));
  Bytes file = idx(1, 784);
  file[3] = 1;
  CHECK_ERROR(invalid_argument, "a file of labels", read_images(file));
  file[3] = 4;
  CHECK_ERROR(invalid_argument, "got 4 dimensions", read_images(file));
  file = idx(1, 784);
  file[11] = 27;
  CHECK_ERROR(invalid_argument, "27x28", read_images(file));
  file[2] = 0x0d;
  CHECK_ERROR(invalid_argument, "unsigned bytes", read_images(file));
  CHECK_ERROR(invalid_argument, "header is cut short", read_images(Bytes{0, 0, 8, 3, 0, 0}));
}

void raw_files() {
  CHECK(read_images(Bytes(784, 7), ImageFormat::raw) == Bytes(784, 7));
  CHECK(read_images(Bytes(1568, 7), ImageFormat::raw, true) == Bytes(1568, 248));
  // The first bytes of gzip, but of no whole header.
  Bytes picture(784, 0);
  picture[0] = 0x1f;
  picture[1] = 0x8b;
  CHECK(read_images(picture, ImageFormat::raw) == picture);
  CHECK_ERROR(invalid_argument, "got 783", read_images(Bytes(783), ImageFormat::raw));
  CHECK_ERROR(invalid_argument, "got 0", read_images({}, ImageFormat::raw));
  // Nothing is taken for raw bytes by its length.
  CHECK_ERROR(invalid_argument, "read with the format raw", read_images(Bytes(784, 7)));
  CHECK_ERROR(invalid_argument, "the file is empty", read_images({}));
}

void files_are_named_for_what_they_are() {
  const auto named = [](std::string_view start, std::string_view name) {
    // Of a length that raw files have.
    CHECK_ERROR(invalid_argument, name, read_images(bytes(start, 784 - start.size())));
  };
  using namespace std::string_view_literals;
  named(
      "\0\0\0\x18"
      "ftypheic\0\0\0\0heic"sv,
      "the format HEIC");
  named(
      "\0\0\0\x18"
      "ftypmif1\0\0\0\0avif"sv,
      "the format AVIF");
  named(
      "\0\0\0\x18"
      "ftypisom"sv,
      "the format MP4");
  named("RIFF\x10\0\0\0WEBPVP8 "sv, "the format WebP");
  named("GIF89a"sv, "the format GIF");
  named("II*\0"sv, "the format TIFF");
  named("\0\0\1\0\1\0"sv, "the format ICO");
  named("\0\0\0\x0cJXL "sv, "the format JPEG XL");
  named("%PDF-1.7"sv, "the format PDF");
  CHECK_ERROR(invalid_argument, "a file of the format IDX; wanted a picture",
              read_images(idx(1, 784), ImageFormat::picture));
}

void formats_have_names() {
  CHECK(mnistkit::parse_image_format("auto") == ImageFormat::automatic);
  CHECK(mnistkit::parse_image_format("picture") == ImageFormat::picture);
  CHECK_ERROR(invalid_argument, "got 'gif', wanted auto, idx, picture or raw",
              mnistkit::parse_image_format("gif"));
  CHECK(mnistkit::picture_formats().ends_with("BMP, PNM"));
}

void pnm_pictures() {
  const Picture grey = mnistkit::decode_picture(bytes("P5 #a\n4 5\n255\n", 20, 9));
  CHECK_EQ(grey.width, 4U);
  CHECK_EQ(grey.height, 5U);
  CHECK_EQ(grey.channels, 1U);
  CHECK(grey.pixels == Bytes(20, 9));
  CHECK(mnistkit::decode_picture(bytes("P5 4 4 100\n", 16, 50)).pixels == Bytes(16, 128));
  CHECK(mnistkit::decode_picture(bytes("P5 4 4 65535\n", 32, 0x0f)).pixels == Bytes(16, 240));
  CHECK(mnistkit::decode_picture(bytes("P5 4 4 65535\n", 32, 0x80)).pixels == Bytes(16, 128));
  CHECK_EQ(mnistkit::decode_picture(bytes("P6 4 4 255\n", 48)).channels, 3U);
  CHECK(mnistkit::decode_picture(bytes("P4 4 4\n", 4, 0xa0)).pixels[1] == 255);
  const auto refused = [](std::string_view file, std::string_view fault) {
    CHECK_ERROR(invalid_argument, fault, mnistkit::decode_picture(bytes(file)));
  };
  refused("P5 4 4 255\nshort", "too few pixels");
  refused("P5 4 4 0\n", "the largest value is 0");
  refused("P2 4 4 9\n1 2 3", "a number is missing");
  refused("P2 4 4 9\n10", "above the largest");
  refused("P1 4 4 012", "wanted 0 or 1");
  refused("P5 99999999999 4 255\n", "too large");
  refused("P5 99999 99999 255\n", "wanted at most 80000000");
  refused("P5 4 3 255\n", "wanted at least 4 by 4");
}

/// A dark vertical stroke on light paper.
Picture stroke(std::size_t height, std::size_t width, std::size_t channels = 1) {
  Picture picture{width, height, channels, Bytes(height * width * channels, 250)};
  for (std::size_t y = height / 4; y < height * 3 / 4; ++y) {
    for (std::size_t x = width / 2 - 2; x < width / 2 + 2; ++x) {
      for (std::size_t c = 0; c < channels; ++c)
        picture.pixels[(y * width + x) * channels + c] = 10;
    }
  }
  return picture;
}

void pixels() {
  const auto image = mnistkit::to_mnist(stroke(60, 50));
  CHECK_EQ(int{*std::max_element(image.begin(), image.end())}, 255);
  CHECK_EQ(int{image[0]}, 0);
  CHECK_EQ(int{image[14 * 28 + 14]}, 255);
  CHECK(mnistkit::to_mnist(stroke(60, 50), true) == image);
  CHECK_ERROR(invalid_argument, "blank", mnistkit::to_mnist({30, 30, 1, Bytes(900, 200)}));
  CHECK_ERROR(invalid_argument, "3 by 30", mnistkit::to_mnist({3, 30, 1, Bytes(90)}));
  CHECK_ERROR(invalid_argument, "899 bytes for 30 by 30",
              mnistkit::to_mnist({30, 30, 1, Bytes(899)}));
  CHECK_ERROR(invalid_argument, "2 channels", mnistkit::to_mnist({30, 30, 2, Bytes(1800)}));
}

void a_small_picture_in_mnists_framing_is_kept() {
  Picture framed = stroke(28, 28);
  const Bytes dark_on_light = framed.pixels;
  for (std::uint8_t& pixel : framed.pixels) pixel = static_cast<std::uint8_t>(255 - pixel);
  const auto as_it_is = mnistkit::to_mnist(framed);
  CHECK(std::equal(as_it_is.begin(), as_it_is.end(), framed.pixels.begin()));
  // Dark on light is framed anew, unless it is inverted first.
  const Picture other{28, 28, 1, dark_on_light};
  CHECK(mnistkit::to_mnist(other) != as_it_is);
  CHECK(mnistkit::to_mnist(other, true) == as_it_is);
}

void black_ink_on_nothing_is_ink() {
  Picture picture{28, 28, 4, Bytes(28 * 28 * 4, 0)};
  for (std::size_t y = 6; y < 22; ++y) {
    for (std::size_t x = 12; x < 16; ++x) picture.pixels[(y * 28 + x) * 4 + 3] = 255;
  }
  const auto image = mnistkit::to_mnist(picture);
  CHECK_EQ(int{image[14 * 28 + 14]}, 255);
  CHECK_EQ(int{image[0]}, 0);
}

}  // namespace

int main() {
  return mnistkit::test::run(
      {{"IDX files", idx_files},
       {"raw files", raw_files},
       {"files are named for what they are", files_are_named_for_what_they_are},
       {"formats have names", formats_have_names},
       {"PNM pictures", pnm_pictures},
       {"pixels", pixels},
       {"a small picture in MNIST's framing is kept", a_small_picture_in_mnists_framing_is_kept},
       {"black ink on nothing is ink", black_ink_on_nothing_is_ink}});
}
