// JPEG, by libjpeg.
#include "image/formats.hpp"
#include "image/refuse.hpp"

#ifdef MNISTKIT_HAS_JPEG
#include <csetjmp>
#include <cstdio>
// It needs <cstdio> before it.
#include <jerror.h>
#include <jpeglib.h>

namespace mnistkit::image {
namespace {

constexpr int kMaxScans = 500;  // of a progressive file; each goes over the whole picture

struct Failure {
  jpeg_error_mgr base;  // first: libjpeg knows no more than its address
  jpeg_progress_mgr progress;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
  bool ended_early;
};

void fail(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  info->err->format_message(info, failure->message);
  std::longjmp(failure->back, 1);
}

void warn(j_common_ptr info, int level) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) failure->ended_early = true;
}

void watch(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    std::snprintf(failure->message, sizeof failure->message, "more than %d scans", kMaxScans);
    std::longjmp(failure->back, 1);
  }
}

// Between setjmp and longjmp nothing with a destructor may live: the steps are functions of their
// own, and what they fill belongs to the caller.
bool read_header(jpeg_decompress_struct& info, Failure& failure, Bytes file) {
  if (setjmp(failure.back) != 0) return false;
  jpeg_create_decompress(&info);
  info.progress = &failure.progress;
  jpeg_mem_src(&info, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&info, TRUE);
  return true;
}

bool read_pixels(jpeg_decompress_struct& info, Failure& failure, std::uint8_t* pixels) {
  if (setjmp(failure.back) != 0) return false;
  jpeg_start_decompress(&info);
  const std::size_t line =
      std::size_t{info.output_width} * static_cast<std::size_t>(info.output_components);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels + info.output_scanline * line;
    jpeg_read_scanlines(&info, &row, 1);
  }
  return true;
}

struct Decoder {
  jpeg_decompress_struct info{};
  Failure failure{};

  Decoder() {
    info.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = fail;
    failure.base.emit_message = warn;
    failure.progress.progress_monitor = watch;
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

[[noreturn]] void damaged(const std::string& reason) {
  refuse("JPEG: damaged or cut short (" + reason + "); wanted a whole picture: save it again");
}

/// Adobe's CMYK, which holds 255 - ink, as Pillow makes it RGB.
std::vector<std::uint8_t> from_cmyk(const std::vector<std::uint8_t>& pixels) {
  std::vector<std::uint8_t> rgb;
  rgb.reserve(pixels.size() / 4 * 3);
  for (std::size_t i = 0; i < pixels.size(); i += 4) {
    const int light = pixels[i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int product = (255 - pixels[i + c]) * light + 128;
      rgb.push_back(static_cast<std::uint8_t>(light - (((product >> 8) + product) >> 8)));
    }
  }
  return rgb;
}

}  // namespace

bool has_jpeg() { return true; }

Picture decode_jpeg(Bytes file) {
  Decoder decoder;
  if (!read_header(decoder.info, decoder.failure, file)) damaged(decoder.failure.message);
  jpeg_decompress_struct& info = decoder.info;
  check_size(info.image_width, info.image_height);
  const bool cmyk = info.num_components == 4;
  info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
  Picture picture{info.image_width,
                  info.image_height,
                  cmyk                       ? 4U
                  : info.num_components == 1 ? 1U
                                             : 3U,
                  {}};
  picture.pixels.resize(picture.width * picture.height * picture.channels);
  if (!read_pixels(info, decoder.failure, picture.pixels.data())) damaged(decoder.failure.message);
  if (decoder.failure.ended_early) damaged("the file ends before the picture does");
  if (cmyk) {
    picture.pixels = from_cmyk(picture.pixels);
    picture.channels = 3;
  }
  return picture;
}

}  // namespace mnistkit::image

#else

namespace mnistkit::image {

bool has_jpeg() { return false; }

Picture decode_jpeg(Bytes) { refuse_unbuilt("JPEG", "libjpeg-dev"); }

}  // namespace mnistkit::image

#endif
