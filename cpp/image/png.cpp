// PNG, by libpng.
#include "image/formats.hpp"
#include "image/refuse.hpp"

#ifdef MNISTKIT_HAS_PNG
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

namespace mnistkit::image {
namespace {

struct Source {
  const std::uint8_t* data;
  std::size_t left;
  char message[128];
};

void fail(png_structp png, png_const_charp message) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::snprintf(source->message, sizeof source->message, "%s", message);
  png_longjmp(png, 1);
}

void warn(png_structp, png_const_charp) {}

void read(png_structp png, png_bytep to, std::size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->left) png_error(png, "the file ends too early");
  std::memcpy(to, source->data, count);
  source->data += count;
  source->left -= count;
}

struct Header {
  png_uint_32 width, height;
  int bits, color;
};

struct Decoder {
  Source source{};
  png_structp png = nullptr;
  png_infop info = nullptr;

  explicit Decoder(Bytes file) {
    source.data = file.data();
    source.left = file.size();
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, fail, warn);
    if (png == nullptr) throw std::bad_alloc();
    info = png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw std::bad_alloc();
    }
  }
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

// Between setjmp and longjmp nothing with a destructor may live: the steps are functions of their
// own, and what they fill belongs to the caller.
bool read_header(Decoder& decoder, Header& header) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  png_set_read_fn(decoder.png, &decoder.source, read);
  // check_size() says which sizes are too large.
  png_set_user_limits(decoder.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_read_info(decoder.png, decoder.info);
  png_get_IHDR(decoder.png, decoder.info, &header.width, &header.height, &header.bits,
               &header.color, nullptr, nullptr, nullptr);
  return true;
}

/// Asks for 8 bits a channel, but for grey of 16; 1, 3 or 4 channels. Gives the channels.
bool set_up(Decoder& decoder, const Header& header, std::size_t& channels, int& passes) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  png_structp png = decoder.png;
  const bool deep_grey = header.color == PNG_COLOR_TYPE_GRAY && header.bits == 16;
  const bool transparency = png_get_valid(png, decoder.info, PNG_INFO_tRNS) != 0;
  if (header.color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (header.color == PNG_COLOR_TYPE_GRAY && header.bits < 8) png_set_expand_gray_1_2_4_to_8(png);
  // Of deep grey Pillow knows no transparency either.
  if (transparency && !deep_grey) png_set_tRNS_to_alpha(png);
  if (header.bits == 16 && !deep_grey) png_set_strip_16(png);
  const bool alpha = (header.color & PNG_COLOR_MASK_ALPHA) != 0 || (transparency && !deep_grey);
  if (alpha && (header.color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
  passes = png_set_interlace_handling(png);
  png_read_update_info(png, decoder.info);
  channels = png_get_channels(png, decoder.info);
  return true;
}

bool read_rows(Decoder& decoder, std::uint8_t* pixels, std::size_t height, std::size_t line,
               int passes) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t y = 0; y < height; ++y) {
      png_read_row(decoder.png, pixels + y * line, nullptr);
    }
  }
  return true;
}

[[noreturn]] void damaged(const char* reason) {
  refuse(std::string("PNG: damaged or cut short (") + reason +
         "); wanted a whole picture: save it again");
}

}  // namespace

bool has_png() { return true; }

Picture decode_png(Bytes file) {
  Decoder decoder(file);
  Header header{};
  if (!read_header(decoder, header)) damaged(decoder.source.message);
  check_size(header.width, header.height);
  Picture picture{header.width, header.height, 0, {}};
  int passes = 1;
  if (!set_up(decoder, header, picture.channels, passes)) damaged(decoder.source.message);
  const bool deep = header.color == PNG_COLOR_TYPE_GRAY && header.bits == 16;
  const std::size_t line = picture.width * picture.channels * (deep ? 2 : 1);
  picture.pixels.resize(picture.height * line);
  if (!read_rows(decoder, picture.pixels.data(), picture.height, line, passes)) {
    damaged(decoder.source.message);
  }
  if (deep) {
    std::vector<std::uint16_t> values(picture.pixels.size() / 2);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] =
          static_cast<std::uint16_t>(picture.pixels[2 * i] << 8 | picture.pixels[2 * i + 1]);
    }
    picture.pixels = to_bytes(values);
  }
  return picture;
}

}  // namespace mnistkit::image

#else

namespace mnistkit::image {

bool has_png() { return false; }

Picture decode_png(Bytes) { refuse_unbuilt("PNG", "libpng-dev"); }

}  // namespace mnistkit::image

#endif
