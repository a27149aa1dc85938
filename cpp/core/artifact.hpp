// An artifact folder: its manifest, and files that are checked against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/golden.hpp"
#include "mnistkit/types.hpp"

namespace mnistkit::detail {

/// One file of the folder, as the manifest describes it.
struct ArtifactFile {
  std::string name;
  std::string format;     ///< "torchscript", "golden", ...
  std::string precision;  ///< "fp32", "fp16", "int8", "all"
  std::string sha256;     ///< 64 lower-case hexadecimal digits
  std::size_t bytes = 0;
};

class Artifact {
 public:
  /// The newest manifest schema that this version reads.
  static constexpr std::int64_t kSchema = 2;
  /// The newest edition of the int8 definition that it knows.
  static constexpr std::int64_t kInt8Edition = 2;

  /// Reads and checks `folder / "manifest.json"`. Throws `Error`: not_found, bad_artifact,
  /// newer_schema.
  explicit Artifact(std::filesystem::path folder);

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
  [[nodiscard]] const std::string& net() const noexcept { return net_; }
  [[nodiscard]] const std::vector<ArtifactFile>& files() const noexcept { return files_; }
  /// The edition of the int8 definition that an int8 file is of (docs/explanations/int8.md).
  [[nodiscard]] int int8_edition() const noexcept { return int8_edition_; }

  /// The file of that format and precision; throws `Error(unavailable)`, naming what there is.
  [[nodiscard]] const ArtifactFile& find(std::string_view format, Precision precision) const;
  /// The golden digits with the reference logits of that precision, compared with the manifest's
  /// labels and counts; nothing where a folder of schema 1 has none but for fp32.
  /// Throws `Error`: not_found, bad_artifact.
  [[nodiscard]] std::optional<Golden> golden(Precision precision) const;
  /// What a reader of this folder should be told, or "": an older schema, an older int8 edition.
  [[nodiscard]] std::string warning(Precision precision) const;

  /// A file's content, with its size and hash checked; throws `Error`: not_found, bad_artifact.
  [[nodiscard]] std::vector<std::uint8_t> read(const ArtifactFile& file) const;

 private:
  [[nodiscard]] const ArtifactFile* golden_file() const noexcept;

  std::filesystem::path folder_;
  std::int64_t schema_ = kSchema;
  std::string net_;
  std::vector<std::string> labels_;
  std::map<std::string, std::int64_t> golden_correct_;  // by precision
  int int8_edition_ = 1;  // what a manifest that does not say it means
  std::vector<ArtifactFile> files_;
};

}  // namespace mnistkit::detail
