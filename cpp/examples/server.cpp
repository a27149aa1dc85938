// A server's loop without the network: many threads, each with a client that sends one picture at a
// time, and one mnistkit::Batcher that runs them together. Some clients lose patience and cancel;
// when the server is overloaded, clients are turned away instead of queued without end.
//
//   mnistkit-example-server ARTIFACT FILE [CLIENTS] [REQUESTS-PER-CLIENT]
//
// FILE holds 784 bytes a picture. Prints the digit of each picture, then what the server did.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>
#include <vector>

#include "mnistkit/batcher.hpp"

namespace {

using namespace std::chrono_literals;
using Images = std::span<const std::uint8_t>;

struct Counts {
  std::atomic<int> answered = 0;
  std::atomic<int> cancelled = 0;
  std::atomic<int> turned_away = 0;
  std::atomic<int> changed = 0;  // answers that differ from the first for that picture
};

/// One client: sends its pictures one after another and waits for each answer.
void serve_client(mnistkit::Batcher& batcher, Images images, const std::vector<int>& digits,
                  int client, int requests, Counts& counts) {
  for (int i = 0; i < requests; ++i) {
    const std::size_t n = static_cast<std::size_t>(client * 7 + i) % digits.size();
    const auto request =
        batcher.try_submit(images.subspan(n * mnistkit::kImageBytes, mnistkit::kImageBytes));
    if (!request) {
      ++counts.turned_away;  // "503, try again": said at once, while the others are served
      std::this_thread::sleep_for(1ms);
      continue;
    }
    if (i % 50 == 49 && request->cancel()) {
      ++counts.cancelled;
      continue;
    }
    counts.changed += request->get().prediction.label == digits[n] ? 0 : 1;
    ++counts.answered;
  }
}

int serve(const char* artifact, const char* file, int clients, int requests) {
  std::ifstream stream(file, std::ios::binary);
  const std::vector<std::uint8_t> images(std::istreambuf_iterator<char>(stream), {});

  mnistkit::RunnerOptions options;
  options.threads = 1;          // the clients are what runs side by side
  options.warmup = {1, 8, 32};  // so that no request pays for libtorch's compilation
  mnistkit::Batcher batcher(mnistkit::Runner(artifact, options),
                            {.max_batch = 32, .max_wait = 500us, .max_queue = 256});

  std::vector<mnistkit::Batcher::Request> first;
  for (std::size_t at = 0; at < images.size(); at += mnistkit::kImageBytes) {
    first.push_back(batcher.submit(Images(images).subspan(at, mnistkit::kImageBytes)));
  }
  std::vector<int> digits;
  for (const auto& request : first) digits.push_back(request.get().prediction.label);
  for (const int digit : digits) std::cout << digit << '\n';
  if (digits.empty()) return 0;

  Counts counts;
  std::vector<std::thread> threads;
  for (int client = 0; client < clients; ++client) {
    threads.emplace_back(
        [&, client] { serve_client(batcher, images, digits, client, requests, counts); });
  }
  for (std::thread& thread : threads) thread.join();
  batcher.close();  // answers what still waits; the destructor would do the same

  const mnistkit::BatcherStats stats = batcher.stats();
  std::cerr << counts.answered << " answered, " << counts.cancelled << " cancelled, "
            << counts.turned_away << " turned away; " << stats.batches << " batches, "
            << static_cast<double>(stats.answered) / static_cast<double>(stats.batches)
            << " requests in each\n";
  return counts.changed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) {
    std::cerr << "usage: " << argv[0] << " ARTIFACT FILE [CLIENTS] [REQUESTS-PER-CLIENT]\n";
    return 2;
  }
  try {
    return serve(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 8,
                 argc > 4 ? std::atoi(argv[4]) : 500);
  } catch (const mnistkit::Error& error) {
    std::cerr << mnistkit::to_string(error.code()) << ": " << error.what() << '\n';
    return 1;
  }
}
