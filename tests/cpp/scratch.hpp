// The artifact folder under test, and damaged copies of it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/sha256.hpp"
#include "npz_writer.hpp"

namespace mnistkit::test {

namespace fs = std::filesystem;

/// The folder that $MNISTKIT_TEST_ARTIFACT names; it must hold an fp32 TorchScript model.
inline fs::path artifact() {
  const char* folder = std::getenv("MNISTKIT_TEST_ARTIFACT");
  if (folder == nullptr || !fs::exists(fs::path(folder) / "manifest.json")) {
    throw std::runtime_error(
        "set MNISTKIT_TEST_ARTIFACT to a folder that `mnistkit export --torchscript` wrote");
  }
  return folder;
}

inline std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_text(const fs::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << text;
  if (!stream.flush()) throw std::runtime_error(path.string() + ": cannot be written");
}

inline std::string sha256_of(const std::string& text) {
  return detail::sha256_hex({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

/// An empty folder that goes away with this object.
class Scratch {
 public:
  Scratch()
      : path_(fs::temp_directory_path() /
              ("mnistkit-test-" + std::to_string(std::random_device{}()))) {
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

/// A folder with one TorchScript file of the given content, two golden digits, and a manifest that
/// fits them.
class FakeArtifact : public Scratch {
 public:
  explicit FakeArtifact(const std::string& content, const std::string& schema = "2") {
    const std::string digits = npz(golden_members("\3\7"));
    write_text(*this / "m.torchscript", content);
    write_text(*this / "golden.npz", digits);
    write_text(*this / "manifest.json",
               R"({"schema": )" + schema + R"(, "net": {"name": "fake"}, "labels": [)" +
                   R"("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "golden": {"total": 2, )" +
                   R"("correct": {"fp32": 2, "fp16": 2, "int8": 2}}, "files": [)" +
                   R"({"name": "m.torchscript", "format": "torchscript", "precision": "fp32",)" +
                   R"( "sha256": ")" + sha256_of(content) + R"(", "bytes": )" +
                   std::to_string(content.size()) +
                   R"(}, {"name": "golden.npz", "format": "golden", "precision": "all",)" +
                   R"( "sha256": ")" + sha256_of(digits) + R"(", "bytes": )" +
                   std::to_string(digits.size()) + "}]}");
  }

  /// Puts other golden digits there; the manifest has their hash.
  void golden(const std::vector<Member>& members) const {
    const std::string old = read_text(*this / "golden.npz"), digits = npz(members);
    write_text(*this / "golden.npz", digits);
    edit(sha256_of(old) + R"(", "bytes": )" + std::to_string(old.size()),
         sha256_of(digits) + R"(", "bytes": )" + std::to_string(digits.size()));
  }

  /// Replaces text in the manifest; throws if it is not there.
  void edit(const std::string& from, const std::string& to) const {
    std::string text = read_text(*this / "manifest.json");
    const std::size_t at = text.find(from);
    if (at == std::string::npos) throw std::runtime_error("manifest has no '" + from + "'");
    write_text(*this / "manifest.json", text.replace(at, from.size(), to));
  }
};

}  // namespace mnistkit::test
