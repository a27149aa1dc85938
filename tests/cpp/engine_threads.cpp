// engine_threads FILE.mnk... : parallel runs give the bits of mnistkit_engine_run, whoever's
// threads they are on and whoever else is on them. Built under the thread and the address
// sanitizer, too; scratch and logits are allocated to the byte.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mnistkit/engine.hpp>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "in_child.hpp"

namespace {

constexpr std::size_t kMost = 257;

const std::vector<std::uint8_t>& images() {
  static const std::vector<std::uint8_t> made = [] {
    std::vector<std::uint8_t> bytes(kMost * MNISTKIT_ENGINE_IMAGE_BYTES);
    std::uint32_t state = 1;
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>((state = state * 1664525 + 1) >> 24);
    return bytes;
  }();
  return made;
}

// Logits by `run(logits, scratch, scratch_size)`, filled beforehand with what is no logit.
template <class Run>
std::vector<float> logits(std::size_t n, std::size_t scratch_size, Run run) {
  const std::size_t count = n * MNISTKIT_ENGINE_CLASSES;
  const std::unique_ptr<float[]> result(new float[count]);
  const std::unique_ptr<std::uint8_t[]> scratch(new std::uint8_t[scratch_size]);
  std::memset(result.get(), 0xFF, count * sizeof(float));
  std::memset(scratch.get(), 0xA5, scratch_size);
  CHECK(run(result.get(), scratch.get(), scratch_size) == MNISTKIT_ENGINE_OK);
  return {result.get(), result.get() + count};
}

std::vector<float> alone(const mnistkit_engine* engine, std::size_t n) {
  return logits(n, mnistkit_engine_scratch_size(engine, n),
                [&](float* result, void* scratch, std::size_t size) {
                  return mnistkit_engine_run(engine, images().data(), n, result, scratch, size);
                });
}

std::vector<float> pooled(const mnistkit_engine* engine, mnistkit_engine_pool* pool,
                          std::size_t n) {
  const std::size_t threads = mnistkit_engine_pool_threads(pool);
  return logits(n, mnistkit_engine_parallel_scratch_size(engine, n, threads),
                [&](float* result, void* scratch, std::size_t size) {
                  return mnistkit_engine_run_parallel(engine, pool, images().data(), n, result,
                                                      scratch, size);
                });
}

std::vector<float> lent(const mnistkit_engine* engine, mnistkit_engine_parallel_for parallel_for,
                        std::size_t threads, std::size_t n) {
  return logits(n, mnistkit_engine_parallel_scratch_size(engine, n, threads),
                [&](float* result, void* scratch, std::size_t size) {
                  return mnistkit_engine_run_parallel_for(engine, parallel_for, nullptr, threads,
                                                          images().data(), n, result, scratch,
                                                          size);
                });
}

bool same(const std::vector<float>& one, const std::vector<float>& other) {
  return one.size() == other.size() &&
         (one.empty() || std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0);
}

struct Pool {
  explicit Pool(std::size_t threads) {
    CHECK(mnistkit_engine_pool_create(threads, &pool) == MNISTKIT_ENGINE_OK);
    CHECK(mnistkit_engine_pool_threads(pool) == threads);
  }
  ~Pool() { mnistkit_engine_pool_close(pool); }
  mnistkit_engine_pool* pool = nullptr;
};

// ---- What lends threads -------------------------------------------------------------------------

void one_after_the_other(void*, std::size_t tasks, mnistkit_engine_task task, void* argument) {
  for (std::size_t i = tasks; i-- > 0;) task(argument, i);
}

void a_thread_each(void*, std::size_t tasks, mnistkit_engine_task task, void* argument) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < tasks; ++i) threads.emplace_back(task, argument, i);
  for (auto& thread : threads) thread.join();
}

// More calls than there are tasks, and all with one index: no two may share a scratch.
void too_many_calls(void*, std::size_t tasks, mnistkit_engine_task task, void* argument) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 2 * tasks; ++i) threads.emplace_back(task, argument, 0);
  for (auto& thread : threads) thread.join();
}

void no_call(void*, std::size_t, mnistkit_engine_task, void*) {}

// ---- The tests ----------------------------------------------------------------------------------

void test_bits(const mnistkit_engine* engine, bool slow) {
  const std::vector<std::size_t> sizes = slow
                                             ? std::vector<std::size_t>{0, 1, 2, 5}
                                             : std::vector<std::size_t>{0, 1, 15, 17, 33, 255, 257};
  for (const std::size_t threads : {1, 2, 3, 7}) {
    const Pool own(threads);
    for (const std::size_t n : sizes) {
      const auto wanted = alone(engine, n);
      CHECK(same(pooled(engine, own.pool, n), wanted));
      for (const auto lender : {one_after_the_other, a_thread_each, too_many_calls}) {
        CHECK(same(lent(engine, lender, threads, n), wanted));
      }
    }
  }
}

void test_turns(const mnistkit_engine* engine) {
  const Pool own(3);
  const auto wanted = alone(engine, 67);
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int run = 0; run < 25; ++run) right += same(pooled(engine, own.pool, 67), wanted);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 100);
}

// Pools that have never run, that run at once, and whose threads have gone to sleep.
void test_sleep(const mnistkit_engine* engine) {
  const auto wanted = alone(engine, 40);
  for (int i = 0; i < 20; ++i) {
    const Pool own(1 + i % 4);
    for (int run = 0; run < i; ++run) {
      if (run % 3 == 2) usleep(500);
      CHECK(same(pooled(engine, own.pool, 40), wanted));
    }
    if (i % 2) usleep(500);
  }
}

void test_misuse(const mnistkit_engine* engine) {
  constexpr auto kBad = MNISTKIT_ENGINE_INVALID_ARGUMENT;
  const auto told = [](const char* text) {
    return std::string(mnistkit_engine_last_error()).find(text) != std::string::npos;
  };
  mnistkit_engine_pool* pool = nullptr;
  for (const std::size_t threads :
       {std::size_t{0}, std::size_t{1025}, std::size_t{10000}, ~std::size_t{0}}) {
    pool = reinterpret_cast<mnistkit_engine_pool*>(1);
    CHECK(mnistkit_engine_pool_create(threads, &pool) == kBad);
    CHECK(pool == nullptr);
    CHECK(told(("threads: got " + std::to_string(threads) + ", wanted 1 to 1024").c_str()));
    CHECK(mnistkit_engine_parallel_scratch_size(engine, 64, threads) == 0);
  }
  CHECK(mnistkit_engine_pool_create(2, nullptr) == kBad);
  CHECK(mnistkit_engine_pool_threads(nullptr) == 0);
  CHECK(mnistkit_engine_parallel_scratch_size(nullptr, 64, 2) == 0);
  mnistkit_engine_pool_close(nullptr);

  const Pool own(2);
  std::vector<float> result(64 * MNISTKIT_ENGINE_CLASSES);
  const std::size_t size = mnistkit_engine_parallel_scratch_size(engine, 64, 2);
  std::vector<std::uint8_t> scratch(size);
  const auto run = [&](const mnistkit_engine* e, mnistkit_engine_pool* p, std::size_t room) {
    return mnistkit_engine_run_parallel(e, p, images().data(), 64, result.data(), scratch.data(),
                                        room);
  };
  CHECK(run(engine, own.pool, size) == MNISTKIT_ENGINE_OK);
  CHECK(run(engine, nullptr, size) == kBad && told("pool is NULL"));
  CHECK(run(nullptr, own.pool, size) == kBad && told("engine is NULL"));
  CHECK(run(engine, own.pool, size - 1) == kBad && told("scratch: got"));
  const auto lend = [&](mnistkit_engine_parallel_for parallel_for, std::size_t threads) {
    return mnistkit_engine_run_parallel_for(engine, parallel_for, nullptr, threads, images().data(),
                                            64, result.data(), scratch.data(), size);
  };
  CHECK(lend(nullptr, 2) == kBad && told("parallel_for is NULL"));
  CHECK(lend(one_after_the_other, 0) == kBad && told("threads: got 0"));
  CHECK(lend(no_call, 2) == kBad && told("0 of 64 images were run"));
}

void test_class(const char* path) {
  using mnistkit::Engine;
  using mnistkit::ErrorCode;
  const auto code = [](auto call) {
    try {
      call();
    } catch (const mnistkit::Error& error) {
      return static_cast<int>(error.code());
    }
    return 0;
  };
  const Engine one(path), two(path, {.threads = 2});
  CHECK(one.threads() == 1 && two.threads() == 2);
  const auto pool = std::make_shared<const mnistkit::EnginePool>(3);
  std::vector<std::byte> bytes;
  std::FILE* file = std::fopen(path, "rb");
  for (int c = 0; (c = std::fgetc(file)) != EOF;) bytes.push_back(static_cast<std::byte>(c));
  std::fclose(file);
  Engine first(bytes, {.pool = pool});
  const Engine three(std::move(first));
  CHECK(three.threads() == 3 && mnistkit::EnginePool().threads() >= 1);
  CHECK(!three.net().empty() && !three.kernels().empty() && three.precision() == one.precision());
  const auto wanted = one.logits(images());
  CHECK(same(wanted, alone(one.handle(), kMost)));
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      for (int run = 0; run < 5; ++run)
        right += same((i % 2 ? two : three).logits(images()), wanted);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 30);
  CHECK(one.logits({}).empty());

  const std::span<const std::uint8_t> some(images());
  CHECK(code([&] { (void)one.logits(some.first(783)); }) == int(ErrorCode::invalid_argument));
  std::vector<float> small(9);
  CHECK(code([&] { one.logits(some.first(784), small); }) == int(ErrorCode::invalid_argument));
  CHECK(code([&] { (void)first.logits(some); }) == int(ErrorCode::closed));
  CHECK(code([] { Engine engine("/none.mnk"); }) == int(ErrorCode::not_found));
  CHECK(code([] { Engine engine(std::span<const std::byte>{}); }) == int(ErrorCode::bad_artifact));
  CHECK(code([&] { Engine engine(path, {.threads = 10000}); }) == int(ErrorCode::invalid_argument));
  CHECK(code([&] { Engine engine(path, {.kernels = "x"}); }) == int(ErrorCode::unavailable));
}

#if !defined(__SANITIZE_THREAD__)  // which may stand still in a child itself
// In a child of fork() a net is memory alone, whatever the parent's threads held; its pool refuses.
void test_fork(const char* path) {
  using mnistkit::Engine;
  const Engine one(path), two(path, {.threads = 2});
  const auto wanted = one.logits(images());
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) (void)one.logits(std::span(images()).first(MNISTKIT_ENGINE_IMAGE_BYTES));
    });
  }
  for (int i = 0; i < 10; ++i) {
    IN_CHILD(CHECK(same(one.logits(images()), wanted));
             CHECK_THROWS(mnistkit::Error, "pool: it was made before a fork", two.logits(images()));
             const Engine own(path, {.threads = 2}); CHECK(same(own.logits(images()), wanted)););
  }
  stop = true;
  for (auto& thread : threads) thread.join();
}
#endif

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    bool fastest = true;
    for (std::size_t k = 0; k < mnistkit_engine_kernel_count(); ++k) {
      if (!mnistkit_engine_kernel_supported(k)) continue;
      mnistkit_engine* engine = nullptr;
      CHECK(mnistkit_engine_open_file(argv[i], mnistkit_engine_kernel_name(k), &engine) ==
            MNISTKIT_ENGINE_OK);
      test_bits(engine, k + 2 >= mnistkit_engine_kernel_count());
      if (fastest) {
        test_misuse(engine);
        test_turns(engine);
        test_sleep(engine);
      }
      fastest = false;
      mnistkit_engine_close(engine);
    }
    test_class(argv[i]);
#if !defined(__SANITIZE_THREAD__)
    test_fork(argv[i]);
#endif
  }
  std::printf("%d files, %d failures\n", argc - 1, mnistkit::test::failures);
  return argc < 2 || mnistkit::test::failures != 0;
}
