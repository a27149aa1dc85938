// The engine, opened from an artifact folder. Link mnistkit::core.
#ifndef MNISTKIT_ARTIFACT_HPP
#define MNISTKIT_ARTIFACT_HPP

#include <filesystem>
#include <string>

#include "mnistkit/engine.hpp"
#include "mnistkit/types.hpp"

namespace mnistkit {

/// An engine that was opened from an artifact folder.
struct ArtifactEngine {
  Engine engine;
  std::string net;      ///< its name, as the manifest gives it
  std::string warning;  ///< what its user should be told, or ""
};

/// Opens the .mnk file of that precision in an artifact folder: checks the manifest, the file's
/// size and SHA-256, and, with `verify`, the golden digits, whose int8 logits must come out to the
/// bit. Throws `Error`: not_found, bad_artifact, newer_schema, unavailable (no such precision),
/// check_failed (other logits), and what `Engine` throws.
[[nodiscard]] MNISTKIT_API ArtifactEngine open_engine(const std::filesystem::path& artifact,
                                                      Precision precision,
                                                      const EngineOptions& options = {},
                                                      bool verify = true);

}  // namespace mnistkit

#endif  // MNISTKIT_ARTIFACT_HPP
