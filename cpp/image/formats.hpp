// The formats of files, by their first bytes, and what decodes each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mnistkit/image.hpp"

namespace mnistkit::image {

using Bytes = std::span<const std::uint8_t>;

enum class Kind { unknown, gzip, idx, png, jpeg, bmp, pnm, foreign };

/// A file's kind, and its name for messages: "PNG", "HEIC"; of `unknown` it is empty.
struct Sniffed {
  Kind kind = Kind::unknown;
  std::string name;
};
[[nodiscard]] Sniffed sniff(Bytes file);

/// Whether the bytes start with these, from `at` on.
[[nodiscard]] bool has(Bytes file, std::size_t at, std::string_view text);

// Each throws `Error` as `decode_picture` does. No one turns the picture upright.
[[nodiscard]] Picture decode_png(Bytes file);
[[nodiscard]] Picture decode_jpeg(Bytes file);
[[nodiscard]] Picture decode_bmp(Bytes file);
[[nodiscard]] Picture decode_pnm(Bytes file);

/// Whether this build has the library for it.
[[nodiscard]] bool has_png();
[[nodiscard]] bool has_jpeg();
[[nodiscard]] bool has_gzip();

/// The content of all members of a gzip file, at most `limit` bytes.
[[nodiscard]] std::vector<std::uint8_t> gunzip(Bytes file, std::size_t limit);

/// The pixels of an IDX file of 28 by 28 images.
[[nodiscard]] std::vector<std::uint8_t> decode_idx(Bytes file);

/// Values of 16 bits as bytes, as `mnistkit predict` takes them: where none is above 4095 they are
/// of 12 bits, as cameras and scanners write them.
[[nodiscard]] std::vector<std::uint8_t> to_bytes(const std::vector<std::uint16_t>& values);

/// How a camera was held, 1 (upright) to 8, as a PNG's or a JPEG's EXIF says.
[[nodiscard]] int orientation(Bytes file, Kind kind);

/// The picture as it was seen.
[[nodiscard]] Picture upright(Picture picture, int orientation);

}  // namespace mnistkit::image
