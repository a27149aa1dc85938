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
  /// The newest edition of the int8 definition that it knows.
  static constexpr std::int64_t kInt8Edition = 2;

  /// Reads and checks `folder / "manifest.json"`. Throws `Error`: not_found, bad_artifact,
  /// newer_schema.
  explicit Artifact(std::filesystem::path folder);

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
  [[nodiscard]] const std::string& net() const noexcept { return net_; }
  [[nodiscard]] const std::vector<ArtifactFile>& files() const noexcept { return files_; }
  /// The edition of the int8 definition that an int8 file is of (docs/int8.md).
  [[nodiscard]] int int8_edition() const noexcept { return int8_edition_; }

  /// The file of that format and precision; throws `Error(unavailable)`, naming what there is.
  [[nodiscard]] const ArtifactFile& find(std::string_view format, Precision precision) const;
  /// The golden digits with the reference logits of that precision; where an older mnistkit wrote
  /// none, or the precision has no reference of its own, those with fp32's; or null.
  [[nodiscard]] const ArtifactFile* golden(Precision precision) const noexcept;

  /// A file's content, with its size and hash checked; throws `Error`: not_found, bad_artifact.
  [[nodiscard]] std::vector<std::uint8_t> read(const ArtifactFile& file) const;

 private:
  std::filesystem::path folder_;
  std::string net_;
  int int8_edition_ = 1;  // what a manifest that does not say it means
  std::vector<ArtifactFile> files_;
};

}  // namespace mnistkit::detail
