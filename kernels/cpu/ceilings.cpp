#include "kernels/cpu/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/pages.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/ceilings.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

// Eight independent sums: only the loads can be the limit.
float sumWords(const float* data, std::int64_t count) {
  constexpr int kSums = 8;
  const std::int64_t lanes = laneCount();
  FloatVec sums[kSums];
  for (auto& sum : sums) sum = hn::Zero(FloatTag());
  for (std::int64_t i = 0; i + kSums * lanes <= count; i += kSums * lanes) {
    for (int s = 0; s < kSums; ++s) sums[s] = hn::Add(sums[s], loadWide(data + i + s * lanes));
  }
  for (int s = 1; s < kSums; ++s) sums[0] = hn::Add(sums[0], sums[s]);
  return sumOf(sums[0]);
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(sumWords);

template <class Work>
double bestSeconds(int passes, Work&& work) {
  double best = 1e300;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

double readBandwidth(ThreadPool& pool, std::int64_t bytes, int passes) {
  const std::int64_t count = bytes / std::int64_t(sizeof(float));
  const Pages pages(static_cast<std::size_t>(bytes));
  auto* data = reinterpret_cast<float*>(pages.bytes().data());
  constexpr std::int64_t kPage = 4096;
  pool.parallelFor(count, kPage, [&](std::int64_t begin, std::int64_t end, int) {
    std::fill(data + begin, data + end, 1.0F);  // pages that were never written are all one and the same
  });
  const auto sum = HWY_DYNAMIC_DISPATCH(sumWords);
  std::atomic<float> kept{0};  // the sums are used, so that they are made
  const double seconds = bestSeconds(passes, [&] {
    pool.parallelFor(count, kPage, [&](std::int64_t begin, std::int64_t end, int) {
      kept.store(sum(data + begin, end - begin), std::memory_order_relaxed);
    });
  });
  return static_cast<double>(bytes) / seconds;
}

double gemmRate(ThreadPool& pool, std::int64_t T, std::int64_t rows, std::int64_t cols, int passes) {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  const std::vector<float> x(size(T * cols), 0.5F);
  const std::vector<float> w(size(rows * cols), 0.25F);
  std::vector<float> out(size(T * rows));
  const auto product = [&](std::int64_t begin, std::int64_t end, int) {
    gemm({.m = T,
          .n = end - begin,
          .k = cols,
          .a = x.data(),
          .lda = cols,
          .b = w.data() + begin * cols,
          .ldb = cols,
          .transposeB = true,
          .c = out.data() + begin,
          .ldc = rows});
  };
  const double seconds = bestSeconds(passes, [&] { pool.parallelFor(rows, 16, product); });
  return 2.0 * static_cast<double>(T) * static_cast<double>(rows) * static_cast<double>(cols) / seconds;
}

}  // namespace eyrie::kernels::cpu
#endif
