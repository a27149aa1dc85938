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
  CHECK(artifact.golden(Precision::fp32) == nullptr);
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

void golden() {
  const auto chosen = [](const char* precisions, Precision wanted) -> std::string {
    const FakeArtifact folder("content");
    std::string entries;
    for (const char* at = precisions; *at != '\0'; at += 4) {
      const std::string precision(at, 4);
      entries += R"({"name": ")" + precision + R"(", "format": "golden", "precision": ")" +
                 precision + R"(", "sha256": ")" + std::string(64, '0') + R"(", "bytes": 1}, )";
    }
    folder.edit("\"files\": [", "\"files\": [" + entries);
    const Artifact artifact(folder.path());
    const auto* found = artifact.golden(wanted);
    return found == nullptr ? "none" : found->precision;
  };
  CHECK_EQ(chosen("fp32int8", Precision::int8), "int8");
  CHECK_EQ(chosen("int8fp32", Precision::fp32), "fp32");
  CHECK_EQ(chosen("int8fp32", Precision::fp16), "fp32");
  CHECK_EQ(chosen("fp32", Precision::int8), "fp32");
  CHECK_EQ(chosen("int8", Precision::fp32), "none");
}

void edition() {
  const auto said = [](const char* text) {
    const FakeArtifact folder("content");
    folder.edit("{", text);
    return Artifact(folder.path()).int8_edition();
  };
  CHECK_EQ(said("{"), 1);
  CHECK_EQ(said("{\"int8_edition\": 2, "), 2);
  CHECK_ERROR(newer_schema, "int8 edition 3", said("{\"int8_edition\": 3, "));
  CHECK_ERROR(bad_artifact, "int8_edition below 1", said("{\"int8_edition\": 0, "));
  CHECK_ERROR(bad_artifact, "wanted a number", said("{\"int8_edition\": \"2\", "));
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
                              {"golden", golden},
                              {"edition", edition},
                              {"damaged manifest", damaged_manifest},
                              {"damaged file", damaged_file}});
}
