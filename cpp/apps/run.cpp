// mnistkit-run: classifies digits with an artifact folder's TorchScript model.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "apps/arguments.hpp"
#include "apps/input.hpp"
#include "apps/program.hpp"
#include "mnistkit/runner.hpp"
#include "mnistkit/version.h"

namespace {

using namespace mnistkit;
using namespace mnistkit::apps;

constexpr const char* kHelp =
    R"(Usage: mnistkit-run DIR [FILE|-]... [options]
       mnistkit-run DIR --self-check [options]

Classifies digits with the TorchScript model in the artifact folder DIR, and prints one digit a
line. A FILE is a picture of one digit (PNG, JPEG, BMP or PNM; any size, dark on light or light on
dark, prepared as `mnistkit predict` does) or an IDX file of images, plain or gzip, as it is; "-"
is standard input. Which it is is found from its first bytes.

  --precision P    fp32 (default), fp16 (GPU) or int8 (CPU)
  --device D       cpu (default), cuda or cuda:N
  --threads N      CPU threads; 0 (default) leaves libtorch's choice
  --batch N        images given to the model at once; 0 (default) fits the device
  --format F       auto (default), idx, picture, or raw: N * 784 bytes without a header, plain
                   or gzip, 0 = background, 255 = ink
  --invert         invert what is read: for IDX and raw images that are dark on light. A picture
                   needs it only where it is 28 by 28 and to be taken as it is
  --scores         print the probability beside each digit
  --json           print one JSON object instead
  --self-check     run the artifact's golden digits and compare with the reference
  --version        print the versions of mnistkit and libtorch
  --help           print this

Exit codes: 0 done; 1 a check failed or the artifact is damaged; 2 the call was wrong;
3 a file, a device or a precision is missing.
)";

RunnerOptions runner_options(const Arguments& arguments) {
  RunnerOptions options;
  options.device = arguments.value("device", "cpu");
  options.precision = parse_precision(arguments.value("precision", "fp32"));
  options.threads = static_cast<int>(arguments.number("threads", 0, 0, 1024));
  options.max_batch = arguments.number("batch", 0, 0, 65536);
  options.warmup = {};
  return options;
}

void warn(const Runner& runner) {
  if (runner.warning().empty()) return;
  std::fprintf(stderr, "mnistkit-run: warning: %s\n", runner.warning().c_str());
}

int self_check(const Runner& runner, bool json) {
  const SelfCheck check = runner.self_check();
  const char* format =
      json ? "{\"total\": %zu, \"agree\": %zu, \"correct\": %zu, \"max_abs_diff\": %.9g, "
             "\"mean_abs_diff\": %.9g, \"tolerance\": %.9g, \"passed\": %s}\n"
           : "%zu golden digits: %zu agree with the reference, %zu are right\n"
             "|logit difference|: largest %.3g, mean %.3g, tolerance %.3g\n%s\n";
  const char* verdict = check.passed() ? (json ? "true" : "passed") : (json ? "false" : "FAILED");
  std::printf(format, check.total, check.agree, check.correct, double{check.max_abs_diff},
              double{check.mean_abs_diff}, double{check.tolerance}, verdict);
  return check.passed() ? kDone : kCheckFailed;
}

std::vector<std::uint8_t> load_images(const std::vector<std::string>& paths, ImageFormat format,
                                      bool invert) {
  std::vector<std::uint8_t> images;
  for (const std::string& path : paths) {
    const std::vector<std::uint8_t> more = read_image_file(path, format, invert);
    images.insert(images.end(), more.begin(), more.end());
  }
  return images;
}

void print_json(const Runner& runner, const std::vector<Prediction>& predictions) {
  std::printf("{\"net\": %s, \"precision\": \"%s\", \"device\": %s, \"count\": %zu, ",
              json_quoted(runner.net()).c_str(), to_string(runner.options().precision),
              json_quoted(runner.options().device).c_str(), predictions.size());
  std::printf("\"predictions\": [");
  const char* separator = "";
  for (const Prediction& prediction : predictions) {
    std::printf("%s{\"label\": %d, \"probability\": %.6f}", separator, prediction.label,
                double{prediction.probability});
    separator = ", ";
  }
  std::printf("]}\n");
}

void print_digits(const std::vector<Prediction>& predictions, bool scores) {
  for (const Prediction& prediction : predictions) {
    if (scores) {
      std::printf("%d\t%.6f\n", prediction.label, double{prediction.probability});
    } else {
      std::printf("%d\n", prediction.label);
    }
  }
}

int program(int argc, char** argv) {
  const Arguments arguments(argc, argv, {"precision", "device", "threads", "batch", "format"},
                            {"help", "version", "self-check", "json", "scores", "invert"});
  if (arguments.flag("help")) {
    std::fputs(kHelp, stdout);
    return kDone;
  }
  if (arguments.flag("version")) {
    std::printf("mnistkit-run %s (libtorch %s)\n", MNISTKIT_VERSION_STRING, runner_torch_version());
    return kDone;
  }
  const auto& positional = arguments.positional();
  if (positional.empty()) throw UsageError("wants an artifact folder; see --help");
  const ImageFormat format = parse_image_format(arguments.value("format", "auto"));
  RunnerOptions options = runner_options(arguments);

  if (arguments.flag("self-check")) {
    if (positional.size() > 1) throw UsageError("--self-check takes no image files");
    options.verify = false;  // reported below, instead of thrown
    const Runner runner(positional[0], options);
    warn(runner);
    return self_check(runner, arguments.flag("json"));
  }
  if (positional.size() < 2) throw UsageError("wants an image file, or - for standard input");
  const Runner runner(positional[0], options);
  warn(runner);
  const std::vector<std::uint8_t> images =
      load_images({positional.begin() + 1, positional.end()}, format, arguments.flag("invert"));
  const std::vector<Prediction> predictions = runner.classify(images);
  if (arguments.flag("json")) {
    print_json(runner, predictions);
  } else {
    print_digits(predictions, arguments.flag("scores"));
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("mnistkit-run", [&] { return program(argc, argv); });
}
