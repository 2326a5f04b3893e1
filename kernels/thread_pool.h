// A persistent pool for the CPU kernels: parallelFor splits [0, n) into at most maxParts() contiguous parts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace eyrie::kernels {

// Used from one thread at a time (the engine's). The caller works too, so size() == 1 has no worker thread.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // < 1: all cores; fewer where the system gives no more
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;
  // Several a thread: whoever is held up by other programs leaves the rest to the others.
  int maxParts() const { return size() == 1 ? 1 : 4 * size(); }
  // body(begin, end, part) for disjoint parts, each but the last a multiple of `grain` long; returns when all
  // are done. The split depends on n, grain and size() alone. The body must not throw.
  void parallelFor(std::int64_t n, std::int64_t grain,
                   const std::function<void(std::int64_t begin, std::int64_t end, int part)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eyrie::kernels
