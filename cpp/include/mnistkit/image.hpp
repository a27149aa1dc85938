// Picture files and pixels, made into what the nets take: 28 by 28 bytes, as MNIST's are.
//
// It does what `mnistkit predict` does with a file, to the byte but for the last rounding of a few
// pixels (docs/reference/cpp.md), and needs neither a runtime nor libtorch: link mnistkit::image.
#ifndef MNISTKIT_IMAGE_HPP
#define MNISTKIT_IMAGE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mnistkit/error.hpp"
#include "mnistkit/export.h"
#include "mnistkit/types.hpp"

namespace mnistkit {

/// Pixels: rows from the top, without gaps, channels interleaved.
struct Picture {
  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t channels = 1;          ///< 1 grey, 3 RGB, 4 RGB and alpha (not premultiplied)
  std::vector<std::uint8_t> pixels;  ///< height * width * channels
};

/// What a file is taken for.
enum class ImageFormat {
  automatic,  ///< an IDX file (plain or gzip) or a picture, by its first bytes
  idx,        ///< an IDX file of 28 by 28 images, plain or gzip
  picture,    ///< a picture of one digit
  raw,        ///< N * 784 bytes, plain or gzip; never guessed
};

/// Reads "auto", "idx", "picture" or "raw"; throws `Error(invalid_argument)` for anything else.
[[nodiscard]] MNISTKIT_API ImageFormat parse_image_format(std::string_view text);

/// The formats of pictures that this build reads, as in "PNG, JPEG, BMP, PNM".
[[nodiscard]] MNISTKIT_API std::string picture_formats();

/// Decodes a picture: turned upright as its EXIF says, 16 bits a channel brought to 8 (12 where
/// no grey is above 4095), palettes and CMYK to RGB. Which format it is is found from its first
/// bytes.
///
/// Throws `Error`: invalid_argument where the file is damaged or is no picture that is read (named
/// where it is known), unavailable where this build was made without the library for it.
[[nodiscard]] MNISTKIT_API Picture decode_picture(std::span<const std::uint8_t> file);

/// Turns a picture of one handwritten digit into an image as MNIST's are: 0 background, 255 ink.
///
/// Dark on light or light on dark is found from the picture's border; uneven light, noise and
/// specks are taken away; what is transparent is background. A 28 by 28 picture that is light on a
/// black border is taken for MNIST's own framing and returned as it is. `invert` inverts the
/// colours first, so that it lets a dark digit on a white 28 by 28 picture pass as it is, too.
///
/// Throws `Error(invalid_argument)`: the picture is blank, smaller than 4 by 4 or larger than
/// 80,000,000 pixels, or its fields do not fit each other.
[[nodiscard]] MNISTKIT_API std::array<std::uint8_t, kImageBytes> to_mnist(const Picture& picture,
                                                                          bool invert = false);

/// The images in a file's bytes, N * 784: all of an IDX file as they are, or one of a picture by
/// `to_mnist`. `invert` inverts IDX and raw images, and a picture as `to_mnist` does.
///
/// Throws `Error` as `decode_picture` and `to_mnist` do, and invalid_argument for labels, images of
/// another size, a file that is cut short or longer than it says, and more than 1 GiB of images.
[[nodiscard]] MNISTKIT_API std::vector<std::uint8_t> read_images(
    std::span<const std::uint8_t> file, ImageFormat format = ImageFormat::automatic,
    bool invert = false);

}  // namespace mnistkit

#endif  // MNISTKIT_IMAGE_HPP
