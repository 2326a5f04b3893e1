// What this machine reaches at best, measured: benchmarks print their figures as percentages of these. Any
// other load on the machine lowers them, so they are measured again and again in the same run. A probe keeps
// its memory, so that one measurement takes a fraction of a second. Not thread-safe, like the pool.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/pages.h"

namespace eyrie::kernels {
class ThreadPool;
}

namespace eyrie::kernels::cpu {

// Reads memory as fast as the pool's threads can, each contiguous parts of it (but for a part's last few
// bytes).
void readAll(const void* data, std::int64_t bytes, ThreadPool& pool);

class ReadProbe {
 public:
  // Throws std::bad_alloc.
  ReadProbe(ThreadPool& pool, std::int64_t bytes);
  // At which readAll() reads all of the memory once.
  double bytesPerSecond();

 private:
  ThreadPool& pool_;
  Pages pages_;
};

// A product (T, cols) x (rows, cols)^T.
struct GemmShape {
  std::int64_t T = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  double operations() const {
    return 2.0 * static_cast<double>(T) * static_cast<double>(rows) * static_cast<double>(cols);
  }
};

// f32 products of these shapes through BLAS, the rows shared among the threads.
class GemmProbe {
 public:
  // Throws std::bad_alloc.
  GemmProbe(ThreadPool& pool, std::vector<GemmShape> shapes);
  // Over all shapes, each as often as the clock needs.
  double flopsPerSecond();

 private:
  void multiply(const GemmShape& shape);

  ThreadPool& pool_;
  std::vector<GemmShape> shapes_;
  std::vector<float> x_;
  std::vector<float> w_;
  std::vector<float> out_;
};

// Times a product of one shape must be repeated, so that clocks and the waking of threads do not count.
int gemmRepeats(const GemmShape& shape);

}  // namespace eyrie::kernels::cpu
