// mnistkit::Batcher and a child of fork(): refused there, never waited for, and ended unharmed.
#include <array>
#include <chrono>
#include <memory>
#include <thread>

#include "check.hpp"
#include "in_child.hpp"
#include "mnistkit/batcher.hpp"

namespace {

using namespace mnistkit;
using namespace std::chrono_literals;

constexpr std::array<std::uint8_t, kImageBytes> kImage = {};

void model(std::span<const std::uint8_t>, std::span<float> logits) {
  for (std::size_t i = 3; i < logits.size(); i += kClasses) logits[i] = 1;
}

void refuses(Batcher& batcher) {
  const std::string made = "made by process " + std::to_string(getppid());
  CHECK_ERROR(closed, made, batcher.submit(kImage));
  CHECK_ERROR(closed, made, batcher.try_submit(kImage));
  CHECK_ERROR(closed, "this is process " + std::to_string(getpid()), batcher.classify(kImage));
  CHECK_ERROR(closed, "make one here", batcher.stats());
}

void calls() {
  Batcher batcher(model);
  CHECK_EQ(batcher.classify(kImage).label, 3);
  IN_CHILD(refuses(batcher); batcher.close(); batcher.close(Batcher::Waiting::cancel););
  CHECK_EQ(batcher.classify(kImage).label, 3);
}

void destruction() {
  auto batcher = std::make_unique<Batcher>(model, BatcherOptions{.workers = 3});
  CHECK_EQ(batcher->classify(kImage).label, 3);
  IN_CHILD(batcher.reset(););
  CHECK_EQ(batcher->classify(kImage).label, 3);
}

/// A request that nobody will answer in the child, while others wait for it in the parent.
void requests() {
  Batcher batcher(model, {.max_wait = 500ms});
  const Batcher::Request request = batcher.submit(kImage);
  std::thread waiting([&] { CHECK_EQ(request.get().prediction.label, 3); });
  std::this_thread::sleep_for(20ms);
  IN_CHILD(CHECK(request.wait_for(1h)); CHECK(!request.cancel());
           CHECK_ERROR(closed, "the Batcher of this request was made by process", request.get()););
  waiting.join();
}

/// The fork comes while other threads hold the locks.
void busy() {
  if (!test::kMayForkWhileOthersAllocate) {
    std::puts("skipped: AddressSanitizer's allocator does not come through such a fork");
    return;
  }
  Batcher batcher(model, {.max_batch = 4, .max_wait = 0us, .workers = 2});
  std::atomic<bool> stop = false;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!stop) CHECK_EQ(batcher.classify(kImage).label, 3);
    });
  }
  for (int i = 0; i < 20; ++i) IN_CHILD(refuses(batcher); batcher.close(););
  stop = true;
  for (std::thread& client : clients) client.join();
}

void a_new_one() {
  Batcher batcher(model);
  CHECK_EQ(batcher.classify(kImage).label, 3);
  IN_CHILD(Batcher own(model); CHECK_EQ(own.classify(kImage).label, 3); own.close(););
}

}  // namespace

int main() {
  return mnistkit::test::run({{"calls", calls},
                              {"destruction", destruction},
                              {"requests", requests},
                              {"busy", busy},
                              {"a new one", a_new_one}});
}
