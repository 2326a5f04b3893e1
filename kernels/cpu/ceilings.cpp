#include "kernels/cpu/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
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

// Eight independent folds: only the loads can be the limit. Integers, since these may be any bytes.
std::uint32_t foldBytes(const std::byte* data, std::int64_t count) {
  using Tag = hn::RebindToUnsigned<FloatTag>;
  constexpr int kFolds = 8;
  const std::int64_t vector = laneCount() * std::int64_t{sizeof(std::uint32_t)};
  hn::Vec<Tag> folds[kFolds];
  for (auto& fold : folds) fold = hn::Zero(Tag());
  for (std::int64_t i = 0; i + kFolds * vector <= count; i += kFolds * vector) {
    for (int f = 0; f < kFolds; ++f) {
      const auto* words = reinterpret_cast<const std::uint32_t*>(data + i + f * vector);
      folds[f] = hn::Xor(folds[f], hn::LoadU(Tag(), words));
    }
  }
  for (int f = 1; f < kFolds; ++f) folds[0] = hn::Xor(folds[0], folds[f]);
  return hn::GetLane(hn::SumOfLanes(Tag(), folds[0]));
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(foldBytes);

constexpr std::int64_t kGrain = 16384;  // bytes

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

void readAll(const void* data, std::int64_t bytes, ThreadPool& pool) {
  const auto* from = static_cast<const std::byte*>(data);
  const auto fold = HWY_DYNAMIC_DISPATCH(foldBytes);
  std::atomic<std::uint32_t> kept{0};  // what is folded is used, so that it is read
  pool.parallelFor(bytes, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    kept.store(fold(from + begin, end - begin), std::memory_order_relaxed);
  });
}

ReadProbe::ReadProbe(ThreadPool& pool, std::int64_t bytes) : pool_(pool), pages_(count(bytes)) {
  std::byte* const data = pages_.bytes().data();
  // Pages that were never written are all one and the same.
  pool_.parallelFor(std::ssize(pages_.bytes()), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    std::memset(data + begin, 1, count(end - begin));
  });
}

double ReadProbe::bytesPerSecond() {
  const double seconds =
      secondsOf([&] { readAll(pages_.bytes().data(), std::ssize(pages_.bytes()), pool_); });
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
