#include "kernels/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace eyrie::kernels {
namespace {

// A third of a millisecond to one: longer than what one thread does alone between two parallel kernels of a
// decode step, shorter than a time slice. Waking a sleeper costs 50 microseconds and more, hundreds of times
// a token.
constexpr int kSpins = 20'000;
constexpr int kMaxThreads = 1024;  // parts are counted in 16 bits

inline void cpuRelax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// The current job in one word, so that claiming a part is one compare-and-swap and a part of an old job can
// never be claimed: serial number, number of parts, next unclaimed part.
constexpr std::uint64_t pack(std::uint32_t serial, std::uint32_t parts) {
  return (static_cast<std::uint64_t>(serial) << 32) | (static_cast<std::uint64_t>(parts) << 16);
}
constexpr std::uint32_t partsOf(std::uint64_t word) {
  return (word >> 16) & 0xffffU;
}
constexpr std::uint32_t nextOf(std::uint64_t word) {
  return word & 0xffffU;
}
constexpr bool hasWork(std::uint64_t word) {
  return nextOf(word) < partsOf(word);
}

}  // namespace

struct ThreadPool::Impl {
  using Body = std::function<void(std::int64_t, std::int64_t, int)>;

  explicit Impl(int size) {
    workers.reserve(static_cast<std::size_t>(size - 1));
    try {
      for (int i = 1; i < size; ++i) workers.emplace_back([this] { workerLoop(); });
    } catch (const std::system_error&) {
      return;  // the system gives no more: those there are will do
    }
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping.store(true);
    }
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  // Runs parts of the current job until none is left unclaimed.
  void runParts() {
    std::uint64_t word = job.load(std::memory_order_acquire);
    while (hasWork(word)) {
      if (!job.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        continue;
      }
      const int part = static_cast<int>(nextOf(word));
      const std::int64_t begin = part * partLength;
      (*body)(begin, std::min(n, begin + partLength), part);
      finishPart(partsOf(word));
      word = job.load(std::memory_order_acquire);
    }
  }

  void finishPart(std::uint32_t parts) {
    if (finished.fetch_add(1) + 1 == parts && callerSleeps.load()) {
      const std::lock_guard lock(mutex);
      done.notify_one();
    }
  }

  void workerLoop() {
    for (;;) {
      for (int spin = 0; spin < kSpins && !hasWork(job.load(std::memory_order_acquire)); ++spin) cpuRelax();
      if (!hasWork(job.load(std::memory_order_acquire))) {
        std::unique_lock lock(mutex);
        sleepers.fetch_add(1);
        wake.wait(lock, [this] { return stopping.load() || hasWork(job.load()); });
        sleepers.fetch_sub(1);
        if (stopping.load()) return;
      }
      runParts();
    }
  }

  void run(std::uint32_t parts) {
    finished.store(0);
    job.store(pack(++serial, parts));
    if (sleepers.load() > 0) {
      const std::lock_guard lock(mutex);
      wake.notify_all();
    }
    runParts();
    for (int spin = 0; spin < kSpins && finished.load() != parts; ++spin) cpuRelax();
    if (finished.load() == parts) return;
    std::unique_lock lock(mutex);
    callerSleeps.store(true);
    done.wait(lock, [&] { return finished.load() == parts; });
    callerSleeps.store(false);
  }

  std::vector<std::thread> workers;
  std::atomic<std::uint64_t> job{0};
  std::atomic<std::uint32_t> finished{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> callerSleeps{false};
  std::atomic<bool> stopping{false};
  std::uint32_t serial = 0;
  // Written while no part is claimed, read after a claim: ordered by `job` and `finished`.
  const Body* body = nullptr;
  std::int64_t n = 0;
  std::int64_t partLength = 0;
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
};

ThreadPool::ThreadPool(int threads) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  impl_ = std::make_unique<Impl>(std::min(threads < 1 ? cores : threads, kMaxThreads));
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const {
  return static_cast<int>(impl_->workers.size()) + 1;
}

void ThreadPool::parallelFor(std::int64_t n, std::int64_t grain,
                             const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (n <= 0) return;
  const std::int64_t unit = std::max<std::int64_t>(grain, 1);
  const std::int64_t units = (n + unit - 1) / unit;
  const std::int64_t unitsPerPart = (units + maxParts() - 1) / maxParts();
  const std::int64_t parts = (units + unitsPerPart - 1) / unitsPerPart;
  if (parts == 1) {
    body(0, n, 0);
    return;
  }
  impl_->body = &body;
  impl_->n = n;
  impl_->partLength = unitsPerPart * unit;
  impl_->run(static_cast<std::uint32_t>(parts));
}

}  // namespace eyrie::kernels
