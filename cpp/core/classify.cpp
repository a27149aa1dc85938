#include "core/classify.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "mnistkit/error.hpp"

namespace mnistkit::detail {

Prediction predict(std::span<const float, kClasses> logits) noexcept {
  const auto best = std::max_element(logits.begin(), logits.end());
  float sum = 0.0F;
  for (const float logit : logits) sum += std::exp(logit - *best);
  return {static_cast<std::int32_t>(best - logits.begin()), 1.0F / sum};
}

std::size_t count_images(std::span<const std::uint8_t> images) {
  if (images.data() == nullptr && !images.empty()) {
    throw Error(ErrorCode::invalid_argument, "images: got a null pointer");
  }
  if (images.size() % kImageBytes != 0) {
    throw Error(ErrorCode::invalid_argument, "images: got " + std::to_string(images.size()) +
                                                 " bytes, wanted N * 784 (28x28 uint8 an image)");
  }
  return images.size() / kImageBytes;
}

void check_output(const void* data, std::size_t got, std::size_t wanted, const char* what) {
  if (data == nullptr && wanted > 0) {
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": got a null pointer");
  }
  if (got != wanted) {
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": got room for " +
                                                 std::to_string(got) + ", wanted exactly " +
                                                 std::to_string(wanted));
  }
}

}  // namespace mnistkit::detail
