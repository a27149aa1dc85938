#include "core/artifact.hpp"

#include "core/file.hpp"
#include "core/json.hpp"
#include "core/sha256.hpp"
#include "mnistkit/error.hpp"

namespace mnistkit::detail {
namespace {

constexpr std::size_t kMaxManifest = std::size_t{4} << 20;
constexpr std::size_t kMaxFile = std::size_t{1} << 30;
constexpr const char* kExportAgain = "; export it again with `mnistkit export --force`";

constexpr const char* kFirstEdition =
    "an int8 net of edition 1, which may give other digits on a CPU without an int8 dot product; "
    "make it again with `mnistkit quantize` and `mnistkit export`";
constexpr const char* kSchema1 =
    "an artifact of schema 1 has golden logits of fp32 alone, so others are not checked; export it "
    "again with `mnistkit export --force`";

/// A manifest comes from anywhere: its names must not lead out of the folder.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

bool is_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

ArtifactFile read_entry(const Json& entry) {
  ArtifactFile file;
  file.name = entry.at("name").string();
  file.format = entry.at("format").string();
  const Json* precision = entry.find("precision");
  if (precision != nullptr && !precision->is_null()) file.precision = precision->string();
  file.sha256 = entry.at("sha256").string();
  const std::int64_t bytes = entry.at("bytes").integer();
  if (!is_plain_name(file.name)) {
    throw Error(ErrorCode::bad_artifact, "file name '" + file.name + "' is not a plain name");
  }
  if (!is_digest(file.sha256)) {
    throw Error(ErrorCode::bad_artifact, "'sha256' of " + file.name + " is not 64 hex digits");
  }
  if (bytes < 0) throw Error(ErrorCode::bad_artifact, "'bytes' of " + file.name + " is negative");
  file.bytes = static_cast<std::size_t>(bytes);
  return file;
}

/// The net's name: `net` is the name itself or a spec with a `name`.
std::string net_name(const Json& manifest) {
  const Json* net = manifest.find("net");
  if (net == nullptr) return "";
  if (net->is_object()) net = net->find("name");
  return net != nullptr && net->is_string() ? net->string() : "";
}

int read_edition(const Json& manifest) {
  const Json* entry = manifest.find("int8_edition");
  if (entry == nullptr) return 1;
  const std::int64_t edition = entry->integer();
  if (edition < 1) throw Error(ErrorCode::bad_artifact, "int8_edition below 1");
  if (edition > Artifact::kInt8Edition) {
    throw Error(ErrorCode::newer_schema, "int8 edition " + std::to_string(edition) +
                                             ", this mnistkit knows up to " +
                                             std::to_string(Artifact::kInt8Edition) +
                                             "; update mnistkit, or export again with this one");
  }
  return static_cast<int>(edition);
}

}  // namespace

Artifact::Artifact(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder_, error)) {
    throw Error(ErrorCode::not_found,
                folder_.string() + ": no such folder; wanted one that `mnistkit export` wrote");
  }
  const auto path = folder_ / "manifest.json";
  if (!std::filesystem::exists(path, error)) {
    throw Error(ErrorCode::not_found,
                path.string() + ": no such file; wanted a folder that `mnistkit export` wrote");
  }
  const std::vector<std::uint8_t> bytes = read_file(path, kMaxManifest);
  try {
    const Json manifest = Json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    const std::int64_t schema = manifest.at("schema").integer();
    if (schema > kSchema) {
      throw Error(ErrorCode::newer_schema,
                  "schema " + std::to_string(schema) + ", this mnistkit reads up to " +
                      std::to_string(kSchema) + "; update mnistkit, or export again with this one");
    }
    if (schema < 1) throw Error(ErrorCode::bad_artifact, "schema below 1");
    schema_ = schema;
    net_ = net_name(manifest);
    int8_edition_ = read_edition(manifest);
    for (const Json& entry : manifest.at("files").array()) files_.push_back(read_entry(entry));
    if (schema_ >= 2) {
      for (const Json& label : manifest.at("labels").array()) labels_.push_back(label.string());
      for (const auto& [precision, correct] : manifest.at("golden").at("correct").object()) {
        golden_correct_[precision] = correct.integer();
      }
    }
    if (golden_file() == nullptr) {
      throw Error(ErrorCode::bad_artifact,
                  "lists no golden digits, which every loader checks itself with");
    }
  } catch (const Error& cause) {
    const char* todo = cause.code() == ErrorCode::newer_schema ? "" : kExportAgain;
    throw Error(cause.code(), path.string() + ": " + cause.what() + todo);
  }
}

const ArtifactFile& Artifact::find(std::string_view format, Precision precision) const {
  std::string there;
  for (const ArtifactFile& file : files_) {
    if (file.format != format) continue;
    if (file.precision == to_string(precision)) return file;
    there += (there.empty() ? "" : ", ") + file.precision;
  }
  const std::string wanted = std::string(format) + " at " + to_string(precision);
  throw Error(ErrorCode::unavailable,
              folder_.string() + ": has no " + wanted +
                  (there.empty() ? "" : " (it has " + there + ")") + "; export it with `mnistkit " +
                  "export --" + std::string(format) + " --precision " + to_string(precision) + "`");
}

const ArtifactFile* Artifact::golden_file() const noexcept {
  for (const ArtifactFile& file : files_) {
    if (file.format == (schema_ >= 2 ? "golden" : "golden-npz")) return &file;
  }
  return nullptr;
}

std::optional<Golden> Artifact::golden(Precision precision) const {
  const ArtifactFile& file = *golden_file();
  const auto path = (folder_ / file.name).string();
  const std::vector<std::uint8_t> bytes = read(file);
  if (schema_ < 2 && precision != Precision::fp32) return std::nullopt;
  try {
    Golden golden = parse_golden(bytes, precision);
    if (schema_ < 2) return golden;
    if (golden.classes != labels_) {
      throw Error(ErrorCode::bad_artifact, "its classes are not the labels of manifest.json");
    }
    const auto wanted = golden_correct_.find(to_string(precision));
    if (wanted == golden_correct_.end() ||
        wanted->second != static_cast<std::int64_t>(golden.correct())) {
      throw Error(ErrorCode::bad_artifact,
                  "the reference logits give the label of " + std::to_string(golden.correct()) +
                      " digits, manifest.json says otherwise: labels or logits were altered");
    }
    return golden;
  } catch (const Error& cause) {
    throw Error(cause.code(), path + ": " + cause.what() + kExportAgain);
  }
}

std::string Artifact::warning(Precision precision) const {
  std::string text;
  if (precision == Precision::int8 && int8_edition_ == 1) text = kFirstEdition;
  if (schema_ < 2 && precision != Precision::fp32)
    text += (text.empty() ? "" : "; ") + std::string(kSchema1);
  return text.empty() ? text : folder_.string() + ": " + text;
}

std::vector<std::uint8_t> Artifact::read(const ArtifactFile& file) const {
  const auto path = folder_ / file.name;
  std::vector<std::uint8_t> bytes = read_file(path, kMaxFile);
  if (bytes.size() != file.bytes) {
    throw Error(ErrorCode::bad_artifact, path.string() + ": " + std::to_string(bytes.size()) +
                                             " bytes, the manifest says " +
                                             std::to_string(file.bytes) + kExportAgain);
  }
  const std::string digest = sha256_hex(bytes);
  if (digest != file.sha256) {
    throw Error(ErrorCode::bad_artifact, path.string() + ": SHA-256 " + digest +
                                             ", the manifest says " + file.sha256 + kExportAgain);
  }
  return bytes;
}

}  // namespace mnistkit::detail
