// A camera loop without a camera: one frame after another, as a program at a conveyor belt or
// behind a webcam would see them, here from picture files. A digit is told when as many frames in
// a row agree on it as it takes to trust them, and the time of each frame is measured.
//
//   mnistkit-example-camera ARTIFACT FRAME...
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "apps/input.hpp"
#include "apps/program.hpp"
#include "mnistkit/runner.hpp"

namespace {

constexpr int kFramesToTrust = 3;
constexpr float kSure = 0.9F;

/// Tells a digit once, when enough frames in a row were sure of it.
class Steady {
 public:
  /// Whether this frame is the one that settles it.
  bool settles(const mnistkit::Prediction& seen) {
    const bool same = seen.label == label_ && seen.probability >= kSure;
    label_ = seen.label;
    frames_ = same ? frames_ + 1 : (seen.probability >= kSure ? 1 : 0);
    return frames_ == kFramesToTrust;
  }

 private:
  int label_ = -1;
  int frames_ = 0;
};

int watch(const std::string& artifact, const std::vector<std::string>& frames) {
  using Clock = std::chrono::steady_clock;
  mnistkit::RunnerOptions options;
  options.threads = 1;  // one picture is too little work for two
  const mnistkit::Runner runner(artifact, options);

  Steady steady;
  std::vector<double> times_us;
  std::array<mnistkit::Prediction, 1> prediction;  // made once: the loop allocates nothing for it
  for (const std::string& frame : frames) {
    const std::vector<std::uint8_t> image =
        mnistkit::apps::read_image_file(frame, mnistkit::ImageFormat::picture, /*invert=*/false);
    const auto start = Clock::now();
    runner.classify(image, prediction);
    times_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    if (steady.settles(prediction[0])) {
      std::printf("%d (probability %.3f) at %s\n", prediction[0].label,
                  double{prediction[0].probability}, frame.c_str());
    }
  }
  std::sort(times_us.begin(), times_us.end());
  std::printf("%zu frames, half of them within %.0f us, the slowest %.0f us\n", times_us.size(),
              times_us[times_us.size() / 2], times_us.back());
  return mnistkit::apps::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return mnistkit::apps::run_program("mnistkit-example-camera", [&] {
    if (argc < 3) {
      std::fprintf(stderr, "usage: %s ARTIFACT FRAME...\n", argv[0]);
      return static_cast<int>(mnistkit::apps::kUsage);
    }
    return watch(argv[1], {argv + 2, argv + argc});
  });
}
