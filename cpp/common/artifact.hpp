// An artifact folder: its manifest, and files that are checked against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mnistkit/types.hpp"

namespace mnistkit::detail {

/// One file of the folder, as the manifest describes it.
struct ArtifactFile {
  std::string name;
  std::string format;     ///< "torchscript", "golden", ...
  std::string precision;  ///< "fp32", "fp16", "int8"
  std::string sha256;     ///< 64 lower-case hexadecimal digits
  std::size_t bytes = 0;
};

class Artifact {
 public:
  /// The newest manifest schema that this version reads.
  static constexpr std::int64_t kSchema = 1;

  /// Reads and checks `folder / "manifest.json"`. Throws `Error`: not_found, bad_artifact,
  /// newer_schema.
  explicit Artifact(std::filesystem::path folder);

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
  [[nodiscard]] const std::string& net() const noexcept { return net_; }
  [[nodiscard]] const std::vector<ArtifactFile>& files() const noexcept { return files_; }

  /// The file of that format and precision; throws `Error(unavailable)`, naming what there is.
  [[nodiscard]] const ArtifactFile& find(std::string_view format, Precision precision) const;
  /// The first file of that format, whatever its precision, or null.
  [[nodiscard]] const ArtifactFile* find(std::string_view format) const noexcept;

  /// A file's content, with its size and hash checked; throws `Error`: not_found, bad_artifact.
  [[nodiscard]] std::vector<std::uint8_t> read(const ArtifactFile& file) const;

 private:
  std::filesystem::path folder_;
  std::string net_;
  std::vector<ArtifactFile> files_;
};

}  // namespace mnistkit::detail
