#include "core/npz.hpp"

#include <algorithm>
#include <limits>

#include "mnistkit/error.hpp"

namespace mnistkit::detail {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kDirectoryEnd = 22;  // bytes of the record at the end of a zip file
constexpr std::size_t kDirectoryEntry = 46;
constexpr std::size_t kLocalHeader = 30;
constexpr std::size_t kMaxMembers = 64;
constexpr std::string_view kSuffix = ".npy";

[[noreturn]] void refuse_npz(const std::string& fault) {
  throw Error(ErrorCode::bad_artifact, "npz: " + fault);
}

/// `count` bytes at `at`.
Bytes bytes_at(Bytes bytes, std::size_t at, std::size_t count) {
  if (at > bytes.size() || count > bytes.size() - at)
    refuse_npz("the file is cut short or damaged");
  return bytes.subspan(at, count);
}

/// A little-endian number of `count` bytes at `at`.
std::size_t load_le(Bytes bytes, std::size_t at, std::size_t count) {
  std::size_t value = 0;
  const Bytes field = bytes_at(bytes, at, count);
  for (std::size_t i = 0; i < count; ++i) value |= std::size_t{field[i]} << (8 * i);
  return value;
}

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool has_signature(Bytes bytes, std::size_t at, std::string_view signature) {
  return as_text(bytes_at(bytes, at, signature.size())) == signature;
}

/// What stands between `before` and `after` in the header of a .npy member.
std::string_view between(std::string_view header, std::string_view before, std::string_view after) {
  const std::size_t from = header.find(before);
  if (from == header.npos) refuse_npz("an array's header is not numpy's");
  header.remove_prefix(from + before.size());
  const std::size_t to = header.find(after);
  if (to == header.npos) refuse_npz("an array's header is not numpy's");
  return header.substr(0, to);
}

/// "20, 1, 28, 28", or "20," of one dimension.
std::vector<std::size_t> parse_shape(std::string_view numbers) {
  std::vector<std::size_t> shape;
  std::size_t value = 0;
  bool digits = false;
  for (const char c : numbers) {
    if (c >= '0' && c <= '9') {
      value = value * 10 + static_cast<std::size_t>(c - '0');
      if (value > std::numeric_limits<std::uint32_t>::max()) refuse_npz("an array is too large");
      digits = true;
    } else if (c == ',' && digits) {
      shape.push_back(value);
      value = 0;
      digits = false;
    } else if (c != ' ') {
      refuse_npz("an array's header is not numpy's");
    }
  }
  if (digits) shape.push_back(value);
  if (shape.empty() || shape.size() > 8) refuse_npz("an array's header is not numpy's");
  return shape;
}

std::size_t item_bytes(std::string_view dtype) {
  if (dtype == "|u1") return 1;
  if (dtype == "<f4") return 4;
  if (dtype.starts_with("|S") && dtype.size() <= 6) {
    const std::vector<std::size_t> length = parse_shape(dtype.substr(2));
    if (length.size() == 1 && length[0] > 0) return length[0];
  }
  refuse_npz("an array of " + std::string(dtype) + ", wanted |u1, <f4 or names");
}

}  // namespace

Npz::Npz(Bytes file) {
  if (file.size() < kDirectoryEnd || !has_signature(file, file.size() - kDirectoryEnd, "PK\5\6")) {
    refuse_npz("not a whole zip file");
  }
  const std::size_t end = file.size() - kDirectoryEnd;
  const std::size_t count = load_le(file, end + 10, 2);
  if (count > kMaxMembers) refuse_npz(std::to_string(count) + " members");
  std::size_t at = load_le(file, end + 16, 4);
  for (std::size_t i = 0; i < count; ++i) {
    if (!has_signature(file, at, "PK\1\2")) refuse_npz("the directory is damaged");
    const Bytes entry = bytes_at(file, at, kDirectoryEntry);
    if (load_le(entry, 10, 2) != 0) refuse_npz("compressed; wanted what numpy.savez writes");
    const std::size_t size = load_le(entry, 20, 4), name_size = load_le(entry, 28, 2);
    const std::size_t local = load_le(entry, 42, 4);
    const std::string_view name = as_text(bytes_at(file, at + kDirectoryEntry, name_size));
    if (!has_signature(file, local, "PK\3\4")) refuse_npz("the directory is damaged");
    const std::size_t skip = load_le(file, local + 26, 2) + load_le(file, local + 28, 2);
    if (!name.ends_with(kSuffix)) refuse_npz("a member is not an array");
    members_.emplace_back(name.substr(0, name.size() - kSuffix.size()),
                          bytes_at(file, local + kLocalHeader + skip, size));
    at += kDirectoryEntry + name_size + load_le(entry, 30, 2) + load_le(entry, 32, 2);
  }
}

bool Npz::has(std::string_view name) const noexcept {
  return std::any_of(members_.begin(), members_.end(),
                     [name](const auto& member) { return member.first == name; });
}

NpzArray Npz::at(std::string_view name) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [name](const auto& member) { return member.first == name; });
  if (found == members_.end()) refuse_npz("holds no " + std::string(name));
  const Bytes member = found->second;
  if (!has_signature(member, 0, "\x93NUMPY\1")) refuse_npz("an array's header is not numpy's");
  const std::size_t header_size = load_le(member, 8, 2);
  const std::string_view header = as_text(bytes_at(member, 10, header_size));
  if (between(header, "'fortran_order': ", ",") != "False") refuse_npz("an array in column order");
  NpzArray array;
  array.dtype = between(header, "'descr': '", "'");
  array.shape = parse_shape(between(header, "'shape': (", ")"));
  std::size_t bytes = item_bytes(array.dtype);
  for (const std::size_t length : array.shape) {
    if (length != 0 && bytes > member.size() / length)
      refuse_npz("the file is cut short or damaged");
    bytes *= length;
  }
  array.data = bytes_at(member, 10 + header_size, bytes);
  return array;
}

}  // namespace mnistkit::detail
