// Image files: inflate, PNG, IDX and raw, whole and damaged.
#include "apps/images/images.hpp"

#include <numeric>
#include <string>

#include "apps/images/png.hpp"
#include "check.hpp"
#include "png_writer.hpp"

namespace {

using namespace mnistkit::apps;
using mnistkit::test::Bytes;
using mnistkit::test::PngOptions;
using mnistkit::test::write_png;

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

// What zlib 1.2.13 makes of "0 bottles, 1 bottles, ... 39 bottles, ": dynamic Huffman codes.
const Bytes kDynamic = {
    0x78, 0xda, 0x4d, 0xd0, 0xbb, 0x0d, 0x80, 0x00, 0x00, 0x02, 0xd1, 0x55, 0x1c, 0xc0, 0x42,
    0xc0, 0xef, 0x3a, 0x26, 0x76, 0x26, 0x16, 0xba, 0x7f, 0x2c, 0xb9, 0xee, 0xba, 0x17, 0x98,
    0x86, 0xf3, 0xf9, 0xbe, 0xfb, 0x7a, 0xc7, 0x41, 0x4d, 0x37, 0xd3, 0x9c, 0x9b, 0x4b, 0x73,
    0x6d, 0x6e, 0xcd, 0xbd, 0x79, 0x80, 0x98, 0xd0, 0xf0, 0x04, 0x50, 0x10, 0x05, 0x52, 0x30,
    0x05, 0x54, 0x50, 0x05, 0x56, 0x70, 0x0d, 0xd7, 0xdc, 0x09, 0xd7, 0x70, 0x0d, 0xd7, 0x70,
    0x0d, 0xd7, 0x70, 0x0d, 0xd7, 0x70, 0x03, 0x37, 0x70, 0xc3, 0x83, 0xe1, 0x06, 0x6e, 0xe0,
    0x06, 0x6e, 0xe0, 0x06, 0x6e, 0xe0, 0xfe, 0x27, 0xca, 0x96, 0x79};
// And of "fixed fixed fixed", with the fixed codes.
const Bytes kFixed = {0x78, 0x01, 0x4b, 0xcb, 0xac, 0x48, 0x4d, 0x51,
                      0x48, 0x43, 0x90, 0x00, 0x3a, 0x19, 0x06, 0x71};

void inflates() {
  std::string bottles;
  for (int i = 0; i < 40; ++i) bottles += std::to_string(i) + " bottles, ";
  CHECK_EQ(text_of(inflate_zlib(kDynamic, 1000)), bottles);
  CHECK_EQ(text_of(inflate_zlib(kFixed, 17)), "fixed fixed fixed");
  const Bytes stored = mnistkit::test::zlib_stored({'a', 'b', 'c'});
  CHECK_EQ(text_of(inflate_zlib(stored, 3)), "abc");
}

void refuses_damaged_streams() {
  CHECK_THROWS(ImageError, "more than 16 bytes", inflate_zlib(kFixed, 16));
  CHECK_THROWS(ImageError, "more than 469 bytes", inflate_zlib(kDynamic, 469));
  for (std::size_t length = 0; length < kDynamic.size(); ++length) {
    CHECK_THROWS(ImageError, "", inflate_zlib(std::span(kDynamic).first(length), 1000));
  }
  // Whatever byte is damaged, the data is refused: a code, a length or the checksum is wrong.
  for (std::size_t at = 2; at < kDynamic.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes damaged = kDynamic;
      damaged[at] = static_cast<std::uint8_t>(damaged[at] ^ 1 << bit);
      CHECK_THROWS(ImageError, "", inflate_zlib(damaged, 100000));
    }
  }
}

/// 28 rows of 28 pixels, each of `pixel`, with filter 0.
Bytes flat_rows(const Bytes& pixel) {
  Bytes rows;
  for (int y = 0; y < 28; ++y) {
    rows.push_back(0);
    for (int x = 0; x < 28; ++x) rows.insert(rows.end(), pixel.begin(), pixel.end());
  }
  return rows;
}

void png_color_types() {
  const auto first = [](const Bytes& pixel, PngOptions options) {
    const Bytes image = decode_png(write_png(flat_rows(pixel), options));
    CHECK_EQ(image.size(), 784U);
    CHECK_EQ(int{image.front()}, int{image.back()});
    return int{image.front()};
  };
  CHECK_EQ(first({77}, {}), 77);
  CHECK_EQ(first({255, 255, 255}, {.color = 2}), 255);
  CHECK_EQ(first({255, 0, 0}, {.color = 2}), 76);
  CHECK_EQ(first({200, 128}, {.color = 4}), 100);
  CHECK_EQ(first({255, 255, 255, 0}, {.color = 6}), 0);
  CHECK_EQ(first({9, 9, 9, 255}, {.color = 6}), 9);
  const Bytes palette = {0, 0, 0, 50, 50, 50};
  CHECK_EQ(first({1}, {.color = 3, .palette = palette}), 50);
  CHECK_EQ(first({1}, {.color = 3, .palette = palette, .transparency = {255, 0}}), 0);
  CHECK_THROWS(ImageError, "outside the palette", first({2}, {.color = 3, .palette = palette}));
}

/// Each row filter must give back the same picture.
void png_filters() {
  Bytes image(784);
  for (std::size_t i = 0; i < image.size(); ++i)
    image[i] = static_cast<std::uint8_t>(i * i * 7 + i);
  const auto at = [&](int y, int x) {
    return y < 0 || x < 0 ? 0 : int{image[static_cast<std::size_t>(y * 28 + x)]};
  };
  for (std::uint8_t filter = 0; filter <= 4; ++filter) {
    Bytes rows;
    for (int y = 0; y < 28; ++y) {
      rows.push_back(filter);
      for (int x = 0; x < 28; ++x) {
        const int a = at(y, x - 1), b = at(y - 1, x), c = at(y - 1, x - 1), p = a + b - c;
        const int pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
        const int paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        const int guesses[] = {0, a, b, (a + b) / 2, paeth};
        rows.push_back(static_cast<std::uint8_t>(at(y, x) - guesses[filter]));
      }
    }
    CHECK(decode_png(write_png(rows)) == image);
  }
}

void png_refusals() {
  const auto decode = [](PngOptions options) {
    return decode_png(write_png(flat_rows({0}), options));
  };
  CHECK_THROWS(ImageError, "got 29x28, wanted 28x28", decode({.width = 29}));
  CHECK_THROWS(ImageError, "got 28x4294967295", decode({.height = 0xffffffff}));
  CHECK_THROWS(ImageError, "16 bits", decode({.bits = 16}));
  CHECK_THROWS(ImageError, "1 bits", decode({.bits = 1}));
  CHECK_THROWS(ImageError, "colour type 5", decode({.color = 5}));
  CHECK_THROWS(ImageError, "interlaced", decode({.interlace = 1}));
  CHECK_THROWS(ImageError, "too few pixels", decode({.color = 2}));
  CHECK_THROWS(ImageError, "critical chunk 'NEWS'", decode({.extra_chunk = "NEWS"}));
  CHECK_EQ(decode({.extra_chunk = "news"}).size(), 784U);
  CHECK_THROWS(ImageError, "unknown row filter", decode_png(write_png(Bytes(28 * 29, 9))));
  CHECK_THROWS(ImageError, "more than", decode_png(write_png(Bytes(28 * 29 + 1))));
  const Bytes whole = write_png(flat_rows({0}));
  for (std::size_t length = 0; length < whole.size(); length += 7) {
    CHECK_THROWS(ImageError, "", decode_png(std::span(whole).first(length)));
  }
  Bytes damaged = whole;
  damaged[100] ^= 1;
  CHECK_THROWS(ImageError, "checksum", decode_png(damaged));
}

Bytes idx(std::uint32_t count, std::size_t pixels) {
  Bytes out = {0, 0, 8, 3};
  for (const std::uint32_t size : {count, 28U, 28U}) mnistkit::test::append_be32(out, size);
  out.resize(out.size() + pixels, 5);
  return out;
}

void idx_files() {
  CHECK_EQ(decode_images(idx(2, 2 * 784), ImageFormat::automatic).size(), 2U * 784);
  CHECK_THROWS(ImageError, "cut short", decode_images(idx(2, 2 * 784 - 1), ImageFormat::idx));
  CHECK_THROWS(ImageError, "got 1569", decode_images(idx(2, 2 * 784 + 1), ImageFormat::idx));
  CHECK_THROWS(ImageError, "4294967295 images",
               decode_images(idx(0xffffffff, 10), ImageFormat::idx));
  Bytes file = idx(1, 784);
  file[3] = 1;
  CHECK_THROWS(ImageError, "labels", decode_images(file, ImageFormat::idx));
  file = idx(1, 784);
  file[11] = 27;
  CHECK_THROWS(ImageError, "27x28", decode_images(file, ImageFormat::idx));
  file[2] = 0x0d;
  CHECK_THROWS(ImageError, "unsigned bytes", decode_images(file, ImageFormat::idx));
  CHECK_THROWS(ImageError, "header ends", decode_images({0, 0, 8, 3, 0, 0}, ImageFormat::idx));
}

void raw_files_and_formats() {
  CHECK_EQ(decode_images(Bytes(784, 0x1f), ImageFormat::automatic).size(), 784U);
  CHECK_EQ(decode_images(Bytes(4097 * 784), ImageFormat::raw).size(), 4097U * 784);
  CHECK_THROWS(ImageError, "got 783", decode_images(Bytes(783), ImageFormat::raw));
  CHECK_THROWS(ImageError, "got 0", decode_images({}, ImageFormat::automatic));
  CHECK_THROWS(ImageError, "not a PNG", decode_images(Bytes(784), ImageFormat::png));
  CHECK_EQ(decode_images(write_png(flat_rows({3})), ImageFormat::automatic).size(), 784U);
  CHECK(parse_format("png") == ImageFormat::png);
  CHECK_THROWS(ImageError, "got 'gif'", parse_format("gif"));
  CHECK_ERROR(not_found, "no such file", read_input("/nowhere/at/all"));
  CHECK_THROWS(ImageError, "a folder", read_input("/"));
}

}  // namespace

int main() {
  return mnistkit::test::run({{"inflates", inflates},
                              {"refuses damaged streams", refuses_damaged_streams},
                              {"PNG colour types", png_color_types},
                              {"PNG filters", png_filters},
                              {"PNG refusals", png_refusals},
                              {"IDX files", idx_files},
                              {"raw files and formats", raw_files_and_formats}});
}
