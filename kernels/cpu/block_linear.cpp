#include <algorithm>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/grain.h"
#include "kernels/cpu/widen.h"
#include "kernels/linear.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_linear.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// out (N) += x[k] times row k of w, for a few rows that follow each other. Hardware does not foresee that
// many short rows; those after the next few are asked for on the way, in memory's order.
template <int kRows, class Stored>
HWY_INLINE void addRows(const float* x, const Stored* w, std::int64_t N, float* out) {
  constexpr std::int64_t kLine = 64;
  const std::int64_t perVector = kRows * laneCount() * std::int64_t{sizeof(Stored)};
  const char* fetched = reinterpret_cast<const char*>(w) + 2 * kRows * N * std::int64_t{sizeof(Stored)};
  const std::int64_t lanes = laneCount();
  FloatVec in[kRows];
  for (int k = 0; k < kRows; ++k) in[k] = hn::Set(FloatTag(), x[k]);
  std::int64_t j = 0;
  for (; j + lanes <= N; j += lanes, fetched += perVector) {
    for (std::int64_t at = 0; at < perVector; at += kLine) __builtin_prefetch(fetched + at);
    FloatVec sum = hn::LoadU(FloatTag(), out + j);
    for (int k = 0; k < kRows; ++k) sum = hn::MulAdd(loadWide(w + k * N + j), in[k], sum);
    hn::StoreU(sum, FloatTag(), out + j);
  }
  if (j == N) return;
  FloatVec sum = loadUpTo(out + j, N - j);
  for (int k = 0; k < kRows; ++k) sum = hn::MulAdd(loadUpTo(w + k * N + j, N - j), in[k], sum);
  storeUpTo(sum, out + j, N - j);
}

template <class Stored>
void oneBlock(const float* x, const Stored* w, const float* bias, std::int64_t B, std::int64_t N,
              float* out) {
  constexpr int kRows = 4;
  std::fill_n(out, N, 0.0F);
  std::int64_t k = 0;
  for (; k + kRows <= B; k += kRows) addRows<kRows>(x + k, w + k * N, N, out);
  for (; k < B; ++k) addRows<1>(x + k, w + k * N, N, out);
  for (std::int64_t j = 0; bias != nullptr && j < N; ++j) out[j] += bias[j];
}

template <class Stored>
void blocksOf(const BlockLinearArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t B = args.B;
  const std::int64_t N = args.weight.cols;
  const auto* weights = static_cast<const Stored*>(args.weight.data);
  for (std::int64_t g = begin; g < end; ++g) {
    const float* bias = args.bias == nullptr ? nullptr : args.bias + g * N;
    for (std::int64_t t = 0; t < args.T; ++t) {
      const std::int64_t row = t * args.G + g;
      oneBlock(args.x + row * B, weights + g * B * N, bias, B, N, args.out + row * N);
    }
  }
}

}  // namespace

void blockLinearBlocks(const BlockLinearArgs& args, std::int64_t begin, std::int64_t end) {
  withStored(args.weight.dtype,
             [&](auto element) HWY_ATTR { blocksOf<decltype(element)>(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(blockLinearBlocks);

constexpr std::int64_t kGemmTokens = 16;

// Rows [first, last) of block g through a matrix product.
void productOfBlock(const BlockLinearArgs& args, const float* w, std::int64_t g, std::int64_t first,
                    std::int64_t last) {
  const std::int64_t B = args.B;
  const std::int64_t N = args.weight.cols;
  for (std::int64_t t = first; args.bias != nullptr && t < last; ++t) {
    std::copy_n(args.bias + g * N, N, args.out + (t * args.G + g) * N);
  }
  gemm({.m = last - first,
        .n = N,
        .k = B,
        .a = args.x + (first * args.G + g) * B,
        .lda = args.G * B,
        .b = w,
        .ldb = N,
        .beta = args.bias == nullptr ? 0.0F : 1.0F,
        .c = args.out + (first * args.G + g) * N,
        .ldc = args.G * N});
}

const float* widenedBlock(const BlockLinearArgs& args, std::int64_t g) {
  const std::int64_t size = args.B * args.weight.cols;
  if (args.weight.dtype == DType::f32) return static_cast<const float*>(args.weight.data) + g * size;
  thread_local std::vector<float> scratch;
  scratch.resize(static_cast<std::size_t>(size));
  widenElements(args.weight.data, args.weight.dtype, g * size, size, 1.0F, scratch.data());
  return scratch.data();
}

void products(const BlockLinearArgs& args, ThreadPool& pool) {
  // Fewer blocks than threads: cut the tokens as well.
  const std::int64_t slices = args.G >= pool.size() ? 1 : (pool.size() + args.G - 1) / args.G;
  const std::int64_t sliceRows = (args.T + slices - 1) / slices;
  const double perItem = 0.03 * static_cast<double>(sliceRows * args.B * args.weight.cols);
  const auto items = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t first = std::min(args.T, item % slices * sliceRows);
      const std::int64_t last = std::min(args.T, first + sliceRows);
      productOfBlock(args, widenedBlock(args, item / slices), item / slices, first, last);
    }
  };
  pool.parallelFor(args.G * slices, grainFor(perItem), items);
}

}  // namespace

void blockLinear(const BlockLinearArgs& args, ThreadPool& pool) {
  if (args.T == 0 || args.G == 0 || args.weight.cols == 0) return;
  if (args.T >= kGemmTokens && !args.alone) return products(args, pool);
  const auto blocks = HWY_DYNAMIC_DISPATCH(blockLinearBlocks);
  pool.parallelFor(args.G, grainFor(0.1 * static_cast<double>(args.T * args.B * args.weight.cols)),
                   [&](std::int64_t begin, std::int64_t end, int) { blocks(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
