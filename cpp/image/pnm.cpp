// PBM, PGM and PPM, plain and binary.
#include <algorithm>

#include "image/formats.hpp"
#include "image/numeric.hpp"
#include "image/refuse.hpp"

namespace mnistkit::image {
namespace {

bool is_space(std::uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

[[noreturn]] void damaged(const std::string& reason) {
  refuse("PNM: damaged or cut short (" + reason + "); wanted a whole picture: save it again");
}

class Reader {
 public:
  explicit Reader(Bytes file) : file_(file), at_(2) {}

  /// A whole number after white space and comments.
  std::uint32_t number() {
    skip();
    std::uint32_t value = 0;
    const std::size_t start = at_;
    for (; at_ < file_.size() && file_[at_] >= '0' && file_[at_] <= '9'; ++at_) {
      if (at_ - start == 9) damaged("a number is too large");
      value = value * 10 + (file_[at_] - std::uint32_t{'0'});
    }
    if (at_ == start) damaged("a number is missing");
    return value;
  }

  /// One digit, which need not stand apart.
  std::uint32_t bit() {
    skip();
    if (at_ == file_.size() || (file_[at_] != '0' && file_[at_] != '1')) damaged("wanted 0 or 1");
    return file_[at_++] - std::uint32_t{'0'};
  }

  /// What follows the one white space after the header.
  Bytes rest(std::size_t wanted) {
    if (at_ < file_.size()) ++at_;
    if (file_.size() - at_ < wanted) damaged("it has too few pixels");
    return file_.subspan(at_, wanted);
  }

 private:
  void skip() {
    for (; at_ < file_.size(); ++at_) {
      if (file_[at_] == '#') {
        while (at_ < file_.size() && file_[at_] != '\n' && file_[at_] != '\r') ++at_;
        if (at_ == file_.size()) return;
      } else if (!is_space(file_[at_])) {
        return;
      }
    }
  }

  Bytes file_;
  std::size_t at_;
};

Picture decode_bits(Reader& reader, Picture picture, bool plain) {
  const std::size_t line = (picture.width + 7) / 8;
  const Bytes bits = plain ? Bytes() : reader.rest(line * picture.height);
  picture.pixels.reserve(picture.width * picture.height);
  for (std::size_t y = 0; y < picture.height; ++y) {
    for (std::size_t x = 0; x < picture.width; ++x) {
      const bool black = plain ? reader.bit() != 0 : (bits[y * line + x / 8] << x % 8 & 0x80) != 0;
      picture.pixels.push_back(black ? 0 : 255);
    }
  }
  return picture;
}

}  // namespace

Picture decode_pnm(Bytes file) {
  const int type = file[1] - '0';
  const bool plain = type <= 3;
  Reader reader(file);
  const std::size_t width = reader.number(), height = reader.number();
  check_size(width, height);
  Picture picture{width, height, type % 3 == 0 ? 3U : 1U, {}};
  if (type % 3 == 1) return decode_bits(reader, std::move(picture), plain);
  const std::uint32_t most = reader.number();
  if (most == 0 || most > 65535) damaged("the largest value is " + std::to_string(most));
  const std::size_t count = width * height * picture.channels, each = most > 255 ? 2 : 1;
  const Bytes data = plain ? Bytes() : reader.rest(count * each);
  // Grey of more than 8 bits keeps 16 of them, as in Pillow.
  const bool deep = each == 2 && picture.channels == 1;
  const double range = deep ? 65535 : 255;
  std::vector<std::uint16_t> values;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t value = plain ? reader.number() : data[i * each];
    if (!plain && each == 2) value = value << 8 | data[i * each + 1];
    if (plain && value > most) damaged("a value is above the largest");
    const double scaled = round_even(static_cast<double>(value) / most * range);
    values.push_back(static_cast<std::uint16_t>(std::min(scaled, range)));
  }
  if (deep) {
    picture.pixels = to_bytes(values);
  } else {
    picture.pixels.assign(values.begin(), values.end());
  }
  return picture;
}

}  // namespace mnistkit::image
