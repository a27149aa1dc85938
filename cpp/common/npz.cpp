#include "common/npz.hpp"

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

[[noreturn]] void refuse(const std::string& fault) {
  throw Error(ErrorCode::bad_artifact, "npz: " + fault);
}

/// `count` bytes at `at`.
Bytes slice(Bytes bytes, std::size_t at, std::size_t count) {
  if (at > bytes.size() || count > bytes.size() - at) refuse("the file is cut short or damaged");
  return bytes.subspan(at, count);
}

/// A little-endian number of `count` bytes at `at`.
std::size_t load(Bytes bytes, std::size_t at, std::size_t count) {
  std::size_t value = 0;
  const Bytes field = slice(bytes, at, count);
  for (std::size_t i = 0; i < count; ++i) value |= std::size_t{field[i]} << (8 * i);
  return value;
}

std::string_view text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool begins(Bytes bytes, std::size_t at, std::string_view signature) {
  return text(slice(bytes, at, signature.size())) == signature;
}

/// What stands between `before` and `after` in the header of a .npy member.
std::string_view between(std::string_view header, std::string_view before, std::string_view after) {
  const std::size_t from = header.find(before);
  if (from == header.npos) refuse("an array's header is not numpy's");
  header.remove_prefix(from + before.size());
  const std::size_t to = header.find(after);
  if (to == header.npos) refuse("an array's header is not numpy's");
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
      if (value > std::numeric_limits<std::uint32_t>::max()) refuse("an array is too large");
      digits = true;
    } else if (c == ',' && digits) {
      shape.push_back(value);
      value = 0;
      digits = false;
    } else if (c != ' ') {
      refuse("an array's header is not numpy's");
    }
  }
  if (digits) shape.push_back(value);
  if (shape.empty() || shape.size() > 8) refuse("an array's header is not numpy's");
  return shape;
}

std::size_t item_bytes(std::string_view dtype) {
  if (dtype == "|u1") return 1;
  if (dtype == "<f4") return 4;
  if (dtype.starts_with("|S") && dtype.size() <= 6) {
    const std::vector<std::size_t> length = parse_shape(dtype.substr(2));
    if (length.size() == 1 && length[0] > 0) return length[0];
  }
  refuse("an array of " + std::string(dtype) + ", wanted |u1, <f4 or names");
}

}  // namespace

Npz::Npz(Bytes file) {
  if (file.size() < kDirectoryEnd || !begins(file, file.size() - kDirectoryEnd, "PK\5\6")) {
    refuse("not a whole zip file");
  }
  const std::size_t end = file.size() - kDirectoryEnd;
  const std::size_t count = load(file, end + 10, 2);
  if (count > kMaxMembers) refuse(std::to_string(count) + " members");
  std::size_t at = load(file, end + 16, 4);
  for (std::size_t i = 0; i < count; ++i) {
    if (!begins(file, at, "PK\1\2")) refuse("the directory is damaged");
    const Bytes entry = slice(file, at, kDirectoryEntry);
    if (load(entry, 10, 2) != 0) refuse("compressed; wanted what numpy.savez writes");
    const std::size_t size = load(entry, 20, 4), name_size = load(entry, 28, 2);
    const std::size_t local = load(entry, 42, 4);
    const std::string_view name = text(slice(file, at + kDirectoryEntry, name_size));
    if (!begins(file, local, "PK\3\4")) refuse("the directory is damaged");
    const std::size_t skip = load(file, local + 26, 2) + load(file, local + 28, 2);
    if (!name.ends_with(kSuffix)) refuse("a member is not an array");
    members_.emplace_back(name.substr(0, name.size() - kSuffix.size()),
                          slice(file, local + kLocalHeader + skip, size));
    at += kDirectoryEntry + name_size + load(entry, 30, 2) + load(entry, 32, 2);
  }
}

bool Npz::has(std::string_view name) const noexcept {
  return std::any_of(members_.begin(), members_.end(),
                     [name](const auto& member) { return member.first == name; });
}

NpzArray Npz::at(std::string_view name) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [name](const auto& member) { return member.first == name; });
  if (found == members_.end()) refuse("holds no " + std::string(name));
  const Bytes member = found->second;
  if (!begins(member, 0, "\x93NUMPY\1")) refuse("an array's header is not numpy's");
  const std::size_t header_size = load(member, 8, 2);
  const std::string_view header = text(slice(member, 10, header_size));
  if (between(header, "'fortran_order': ", ",") != "False") refuse("an array in column order");
  NpzArray array;
  array.dtype = between(header, "'descr': '", "'");
  array.shape = parse_shape(between(header, "'shape': (", ")"));
  std::size_t bytes = item_bytes(array.dtype);
  for (const std::size_t length : array.shape) {
    if (length != 0 && bytes > member.size() / length) refuse("the file is cut short or damaged");
    bytes *= length;
  }
  array.data = slice(member, 10 + header_size, bytes);
  return array;
}

}  // namespace mnistkit::detail
