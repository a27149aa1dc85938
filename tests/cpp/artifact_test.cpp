// Artifact folders: what is refused, with which code and words.
#include "common/artifact.hpp"

#include "check.hpp"
#include "scratch.hpp"

namespace {

using mnistkit::Precision;
using mnistkit::detail::Artifact;
using mnistkit::test::FakeArtifact;
using mnistkit::test::Scratch;

void whole() {
  const FakeArtifact folder("content");
  const Artifact artifact(folder.path());
  CHECK_EQ(artifact.net(), "fake");
  const auto& file = artifact.find("torchscript", Precision::fp32);
  CHECK_EQ(artifact.read(file).size(), 7U);
  CHECK(artifact.find("golden") == nullptr);
  CHECK_ERROR(unavailable, "it has fp32", artifact.find("torchscript", Precision::int8));
  CHECK_ERROR(unavailable, "mnistkit export", artifact.find("onnx", Precision::fp32));
}

void missing() {
  const Scratch empty;
  CHECK_ERROR(not_found, "no such folder", Artifact(empty / "nowhere"));
  CHECK_ERROR(not_found, "manifest.json", Artifact(empty.path()));
  const FakeArtifact folder("content");
  std::filesystem::remove(folder / "m.torchscript");
  const Artifact artifact(folder.path());
  CHECK_ERROR(not_found, "m.torchscript", artifact.read(artifact.files()[0]));
}

void schema() {
  CHECK_ERROR(newer_schema, "reads up to 1", Artifact(FakeArtifact("x", "2").path()));
  CHECK_ERROR(bad_artifact, "below 1", Artifact(FakeArtifact("x", "0").path()));
  CHECK_ERROR(bad_artifact, "wanted a number", Artifact(FakeArtifact("x", "\"1\"").path()));
  CHECK_ERROR(bad_artifact, "whole number", Artifact(FakeArtifact("x", "1.5").path()));
}

void damaged_manifest() {
  const auto edited = [](const char* from, const char* to) {
    const FakeArtifact folder("content");
    folder.edit(from, to);
    return Artifact(folder.path());
  };
  CHECK_ERROR(bad_artifact, "JSON, line 1", edited("{", "["));
  CHECK_ERROR(bad_artifact, "'files' is missing", edited("\"files\"", "\"fils\""));
  CHECK_ERROR(bad_artifact, "not a plain name", edited("m.torchscript", "../m.torchscript"));
  CHECK_ERROR(bad_artifact, "not a plain name", edited("m.torchscript", "/m.torchscript"));
  CHECK_ERROR(bad_artifact, "not a plain name", edited("m.torchscript", ".."));
  CHECK_ERROR(bad_artifact, "not a plain name", edited("m.torchscript", ""));
  CHECK_ERROR(bad_artifact, "64 hex", edited("\"sha256\": \"", "\"sha256\": \"g"));
  CHECK_ERROR(bad_artifact, "negative", edited("\"bytes\": ", "\"bytes\": -"));
  const FakeArtifact folder("content");
  std::filesystem::remove(folder / "manifest.json");
  std::filesystem::create_directory(folder / "manifest.json");
  CHECK_ERROR(bad_artifact, "not a regular file", Artifact(folder.path()));
}

void damaged_file() {
  const FakeArtifact folder("content");
  const Artifact artifact(folder.path());
  mnistkit::test::write_text(folder / "m.torchscript", "cOntent");
  CHECK_ERROR(bad_artifact, "SHA-256", artifact.read(artifact.files()[0]));
  mnistkit::test::write_text(folder / "m.torchscript", "conten");
  CHECK_ERROR(bad_artifact, "6 bytes, the manifest says 7", artifact.read(artifact.files()[0]));
}

}  // namespace

int main() {
  return mnistkit::test::run({{"whole", whole},
                              {"missing", missing},
                              {"schema", schema},
                              {"damaged manifest", damaged_manifest},
                              {"damaged file", damaged_file}});
}
