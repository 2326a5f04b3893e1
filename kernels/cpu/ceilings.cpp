#include "kernels/cpu/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

#include "kernels/cpu/gemm.h"
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

constexpr std::int64_t kPageFloats = 4096;

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

template <class Size>
std::size_t largest(const std::vector<GemmShape>& shapes, const Size& size) {
  std::int64_t most = 0;
  for (const GemmShape& shape : shapes) most = std::max(most, size(shape));
  return count(most);
}

template <class Work>
double secondsOf(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ReadProbe::ReadProbe(ThreadPool& pool, std::int64_t bytes) : pool_(pool), pages_(count(bytes)) {
  auto* data = reinterpret_cast<float*>(pages_.bytes().data());
  const auto floats = static_cast<std::int64_t>(pages_.bytes().size() / sizeof(float));
  pool_.parallelFor(floats, kPageFloats, [&](std::int64_t begin, std::int64_t end, int) {
    std::fill(data + begin, data + end, 1.0F);  // pages that were never written are all one and the same
  });
}

double ReadProbe::bytesPerSecond() {
  const auto* data = reinterpret_cast<const float*>(pages_.bytes().data());
  const auto floats = static_cast<std::int64_t>(pages_.bytes().size() / sizeof(float));
  const auto sum = HWY_DYNAMIC_DISPATCH(sumWords);
  std::atomic<float> kept{0};  // the sums are used, so that they are made
  const double seconds = secondsOf([&] {
    pool_.parallelFor(floats, kPageFloats, [&](std::int64_t begin, std::int64_t end, int) {
      kept.store(sum(data + begin, end - begin), std::memory_order_relaxed);
    });
  });
  return static_cast<double>(pages_.bytes().size()) / seconds;
}

int gemmRepeats(const GemmShape& shape) {
  constexpr double kEnough = 2e8;  // operations: a millisecond or more
  return static_cast<int>(std::max(1.0, kEnough / shape.operations()));
}

GemmProbe::GemmProbe(ThreadPool& pool, std::vector<GemmShape> shapes)
    : pool_(pool),
      shapes_(std::move(shapes)),
      x_(largest(shapes_, [](const GemmShape& s) { return s.T * s.cols; }), 0.5F),
      w_(largest(shapes_, [](const GemmShape& s) { return s.rows * s.cols; }), 0.25F),
      out_(largest(shapes_, [](const GemmShape& s) { return s.T * s.rows; })) {}

// A thread has one part of the rows: BLAS is a few percent faster on wide products than on several narrow
// ones.
void GemmProbe::multiply(const GemmShape& shape) {
  const std::int64_t threads = pool_.size();
  pool_.parallelFor(threads, 1, [&](std::int64_t first, std::int64_t last, int) {
    const std::int64_t begin = shape.rows * first / threads;
    const std::int64_t end = shape.rows * last / threads;
    gemm({.m = shape.T,
          .n = end - begin,
          .k = shape.cols,
          .a = x_.data(),
          .lda = shape.cols,
          .b = w_.data() + begin * shape.cols,
          .ldb = shape.cols,
          .transposeB = true,
          .c = out_.data() + begin,
          .ldc = shape.rows});
  });
}

double GemmProbe::flopsPerSecond() {
  double flops = 0;
  const double seconds = secondsOf([&] {
    for (const GemmShape& shape : shapes_) {
      const int repeats = gemmRepeats(shape);
      for (int i = 0; i < repeats; ++i) multiply(shape);
      flops += repeats * shape.operations();
    }
  });
  return flops / seconds;
}

}  // namespace eyrie::kernels::cpu
#endif
