// Arrays of a .npz file as numpy.savez writes it: a zip of .npy members that are not compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mnistkit::detail {

/// One array: its dtype as numpy writes it ("|u1", "<f4", "|S1"), its shape, and its bytes in row
/// order, which lie in the file.
struct NpzArray {
  std::string dtype;
  std::vector<std::size_t> shape;
  std::span<const std::uint8_t> data;
};

/// A .npz file in memory, which must outlive it.
class Npz {
 public:
  /// Reads the directory; throws `Error(bad_artifact)` where it is not whole.
  explicit Npz(std::span<const std::uint8_t> file);

  [[nodiscard]] bool has(std::string_view name) const noexcept;
  /// The array of that name, its size compared with its shape; throws `Error(bad_artifact)` where
  /// it is not there, or is none.
  [[nodiscard]] NpzArray at(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::span<const std::uint8_t>>> members_;  // without ".npy"
};

}  // namespace mnistkit::detail
