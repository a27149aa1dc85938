// Artifact folders: what is refused, with which code and words.
#include "core/artifact.hpp"

#include "check.hpp"
#include "scratch.hpp"

namespace {

using mnistkit::Precision;
using mnistkit::detail::Artifact;
using mnistkit::test::FakeArtifact;
using mnistkit::test::Member;
using mnistkit::test::Scratch;

void whole() {
  const FakeArtifact folder("content");
  const Artifact artifact(folder.path());
  CHECK_EQ(artifact.net(), "fake");
  const auto& file = artifact.find("torchscript", Precision::fp32);
  CHECK_EQ(artifact.read(file).size(), 7U);
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
  CHECK_ERROR(newer_schema, "reads up to 2", Artifact(FakeArtifact("x", "3").path()));
  CHECK_ERROR(bad_artifact, "below 1", Artifact(FakeArtifact("x", "0").path()));
  CHECK_ERROR(bad_artifact, "wanted a number", Artifact(FakeArtifact("x", "\"1\"").path()));
  CHECK_ERROR(bad_artifact, "whole number", Artifact(FakeArtifact("x", "1.5").path()));
}

/// Makes it as mnistkit 0.1.0 wrote it: golden logits of fp32 alone.
void make_schema_1(const FakeArtifact& folder) {
  std::vector<Member> members = mnistkit::test::golden_members("\3\7");
  members[3].name = "logits";
  folder.golden({members[0], members[1], members[3]});
  folder.edit(R"("golden", "precision": "all")", R"("golden-npz", "precision": "fp32")");
  folder.edit(R"("golden": {)", R"("other": {)");
}

void golden() {
  const FakeArtifact folder("content");
  const auto read = [&](Precision precision) { return Artifact(folder.path()).golden(precision); };
  CHECK_EQ(read(Precision::fp16)->count(), 2U);
  CHECK_EQ(Artifact(folder.path()).warning(Precision::fp32), "");
  std::vector<Member> members = mnistkit::test::golden_members("\3\7");
  members[5].data = mnistkit::test::bytes_of(std::vector<float>(20, 1));
  folder.golden(members);
  CHECK_EQ(read(Precision::fp32)->logits[3], 5.0F);
  CHECK_ERROR(bad_artifact, "give the label of 0 digits", read(Precision::int8));
  members[2].data = "0123456798";
  folder.golden(members);
  CHECK_ERROR(bad_artifact, "golden.npz: its classes are not the labels", read(Precision::fp32));
  folder.golden(mnistkit::test::golden_members("\3\7\1"));
  CHECK_ERROR(bad_artifact, "give the label of 3 digits", read(Precision::fp32));
  mnistkit::test::write_text(folder / "golden.npz", "altered");
  CHECK_ERROR(bad_artifact, "golden.npz: 7 bytes", read(Precision::fp32));
  std::filesystem::remove(folder / "golden.npz");
  CHECK_ERROR(not_found, "golden.npz", read(Precision::fp32));
  folder.edit(R"("format": "golden")", R"("format": "other")");
  CHECK_ERROR(bad_artifact, "lists no golden digits", Artifact(folder.path()));
}

void golden_of_schema_1() {
  const FakeArtifact folder("content", "1");
  make_schema_1(folder);
  const Artifact artifact(folder.path());
  CHECK_EQ(artifact.golden(Precision::fp32)->logits[3], 5.0F);
  CHECK(!artifact.golden(Precision::int8).has_value());
  CHECK(!artifact.golden(Precision::fp16).has_value());
  CHECK_EQ(artifact.warning(Precision::fp32), "");
  CHECK(artifact.warning(Precision::int8).find("schema 1 has golden logits of fp32 alone") !=
        std::string::npos);
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
  CHECK_ERROR(bad_artifact, "'golden' is missing", edited("\"golden\": {", "\"gold\": {"));
  CHECK_ERROR(bad_artifact, "'labels' is missing", edited("\"labels\"", "\"label\""));
  CHECK_ERROR(bad_artifact, "wanted a number", edited("\"fp32\": 2", "\"fp32\": \"2\""));
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
                              {"golden of schema 1", golden_of_schema_1},
                              {"edition", edition},
                              {"damaged manifest", damaged_manifest},
                              {"damaged file", damaged_file}});
}
