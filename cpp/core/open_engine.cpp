#include <optional>
#include <span>

#include "core/artifact.hpp"
#include "core/golden.hpp"
#include "mnistkit/artifact.hpp"

namespace mnistkit {
namespace {

/// Int8 is exact by definition; fp32 sums are added in another order than the reference's.
detail::Tolerance tolerance_of(Precision precision) {
  return {.most = precision == Precision::int8 ? 0.0F : 2e-4F};
}

void check(const Engine& engine, const detail::Golden& golden, Precision precision,
           const std::string& path) {
  const SelfCheck check =
      detail::compare_golden(golden, engine.logits(golden.images), tolerance_of(precision));
  if (check.passed()) return;
  throw Error(ErrorCode::check_failed,
              path + ": self-check failed: " + std::to_string(check.agree) + " of " +
                  std::to_string(check.total) + " golden digits agree, largest |difference| " +
                  std::to_string(check.max_abs_diff) + ", wanted at most " +
                  std::to_string(check.tolerance));
}

}  // namespace

ArtifactEngine open_engine(const std::filesystem::path& artifact, Precision precision,
                           const EngineOptions& options, bool verify) {
  const detail::Artifact folder(artifact);
  const detail::ArtifactFile& entry = folder.find("native", precision);
  const std::vector<std::uint8_t> file = folder.read(entry);
  std::optional<detail::Golden> golden;
  if (verify) golden = folder.golden(precision);
  Engine engine(std::as_bytes(std::span(file)), options);
  if (golden) check(engine, *golden, precision, (artifact / entry.name).string());
  return {std::move(engine), folder.net(), folder.warning(precision)};
}

}  // namespace mnistkit
