// gzip files (RFC 1952), of one member or several, by zlib.
#include <algorithm>
#include <array>
#include <climits>
#include <memory>
#include <new>

#include "image/formats.hpp"
#include "image/refuse.hpp"

#ifdef MNISTKIT_HAS_ZLIB
#include <zlib.h>

namespace mnistkit::image {

bool has_gzip() { return true; }

std::vector<std::uint8_t> gunzip(Bytes file, std::size_t limit) {
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  std::vector<std::uint8_t> out;
  std::array<std::uint8_t, 1 << 16> block;
  std::size_t given = 0;
  while (true) {
    const std::size_t room = std::min(file.size() - given, std::size_t{INT_MAX});
    stream.next_in = const_cast<Bytef*>(file.data() + given);
    stream.avail_in = static_cast<uInt>(room);
    stream.next_out = block.data();
    stream.avail_out = static_cast<uInt>(block.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    given += room - stream.avail_in;
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    const std::size_t made = block.size() - stream.avail_out;
    if (out.size() + made > limit) {
      refuse("gzip: holds more than " + std::to_string(limit) + " bytes");
    }
    out.insert(out.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(made));
    if (status == Z_STREAM_END) {
      // Zeros may follow the last member, as tapes leave them.
      const Bytes rest = file.subspan(given);
      if (std::all_of(rest.begin(), rest.end(), [](std::uint8_t byte) { return byte == 0; })) {
        return out;
      }
      if (inflateReset(&stream) != Z_OK) refuse("gzip: damaged");
    } else if (status == Z_BUF_ERROR || (status == Z_OK && room == 0 && made == 0)) {
      refuse("gzip: the file is cut short; fetch or copy it again");
    } else if (status != Z_OK) {
      refuse(std::string("gzip: damaged (") + (stream.msg != nullptr ? stream.msg : "no reason") +
             "); fetch or copy it again");
    }
  }
}

}  // namespace mnistkit::image

#else

namespace mnistkit::image {

bool has_gzip() { return false; }

std::vector<std::uint8_t> gunzip(Bytes, std::size_t) { refuse_unbuilt("gzip", "zlib1g-dev"); }

}  // namespace mnistkit::image

#endif
