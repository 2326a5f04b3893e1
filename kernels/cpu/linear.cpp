#include "kernels/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/grain.h"
#include "kernels/cpu/packed_linear.h"
#include "kernels/cpu/widen.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// Dot products of kTokens rows of x with kRows rows of w: kTokens * kRows independent sums, which hide the
// latency of the multiply-add, and each weight is loaded once for all tokens.
template <int kTokens, int kRows, class Stored>
HWY_INLINE void dotBlock(const float* x, const Stored* w, std::int64_t cols, float (&sums)[kTokens][kRows]) {
  const std::int64_t lanes = laneCount();
  FloatVec acc[kTokens][kRows];
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) acc[t][r] = hn::Zero(FloatTag());
  }
  std::int64_t c = 0;
  for (; c + lanes <= cols; c += lanes) {
    FloatVec in[kTokens];
    for (int t = 0; t < kTokens; ++t) in[t] = loadWide(x + t * cols + c);
    for (int r = 0; r < kRows; ++r) {
      const FloatVec weight = loadWide(w + r * cols + c);
      for (int t = 0; t < kTokens; ++t) acc[t][r] = hn::MulAdd(weight, in[t], acc[t][r]);
    }
  }
  if (c < cols) {
    for (int r = 0; r < kRows; ++r) {
      const FloatVec weight = loadTail(w + r * cols + c, cols - c);
      for (int t = 0; t < kTokens; ++t) {
        acc[t][r] = hn::MulAdd(weight, loadTail(x + t * cols + c, cols - c), acc[t][r]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) sums[t][r] = sumOf(acc[t][r]);
  }
}

template <int kTokens, int kRows, class Stored>
HWY_INLINE void linearBlock(const LinearArgs& args, const Stored* w, std::int64_t t, std::int64_t row) {
  const std::int64_t cols = args.weight.cols;
  float sums[kTokens][kRows];
  dotBlock<kTokens, kRows>(args.x + t * cols, w + row * cols, cols, sums);
  for (int i = 0; i < kTokens; ++i) {
    float* out = args.out + (t + i) * args.weight.rows + row;
    for (int r = 0; r < kRows; ++r) out[r] = sums[i][r] + (args.bias == nullptr ? 0.0F : args.bias[row + r]);
  }
}

template <class Stored>
void linearRowsOf(const LinearArgs& args, std::int64_t begin, std::int64_t end) {
  constexpr int kRows = 8;
  const auto* w = static_cast<const Stored*>(args.weight.data);
  std::int64_t row = begin;
  for (; row + kRows <= end; row += kRows) {
    std::int64_t t = 0;
    for (; t + 4 <= args.T; t += 4) {  // 8 sums at a time; the eight rows stay in the first-level cache
      for (int r = 0; r < kRows; r += 2) linearBlock<4, 2>(args, w, t, row + r);
    }
    for (; t < args.T; ++t) linearBlock<1, kRows>(args, w, t, row);
  }
  for (; row < end; ++row) {
    for (std::int64_t t = 0; t < args.T; ++t) linearBlock<1, 1>(args, w, t, row);
  }
}

}  // namespace

void linearRows(const LinearArgs& args, std::int64_t begin, std::int64_t end) {
  switch (args.weight.dtype) {
    case DType::f32:
      return linearRowsOf<float>(args, begin, end);
    case DType::f16:
      return linearRowsOf<hwy::float16_t>(args, begin, end);
    case DType::bf16:
      return linearRowsOf<hwy::bfloat16_t>(args, begin, end);
    case DType::int8:
    case DType::int4:
      return;  // packed_linear.cpp
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(linearRows);

// From this many tokens on a matrix product through BLAS is faster than streaming dot products.
constexpr std::int64_t kGemmTokens = 16;
// Widened weights at a time: 4 MiB a thread stay in the last cache. Of narrower panels BLAS packs x anew too
// often.
constexpr std::int64_t kPanelElements = 1 << 20;

void productOfRows(const LinearArgs& args, const float* w, std::int64_t row, std::int64_t count) {
  const std::int64_t rows = args.weight.rows;
  const std::int64_t cols = args.weight.cols;
  for (std::int64_t t = 0; args.bias != nullptr && t < args.T; ++t) {
    std::copy_n(args.bias + row, count, args.out + t * rows + row);
  }
  gemm({.m = args.T,
        .n = count,
        .k = cols,
        .a = args.x,
        .lda = cols,
        .b = w,
        .ldb = cols,
        .transposeB = true,
        .beta = args.bias == nullptr ? 0.0F : 1.0F,
        .c = args.out + row,
        .ldc = rows});
}

void productByPanels(const LinearArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t cols = args.weight.cols;
  if (args.weight.dtype == DType::f32) {
    productOfRows(args, static_cast<const float*>(args.weight.data) + begin * cols, begin, end - begin);
    return;
  }
  const std::int64_t widest = std::clamp<std::int64_t>(kPanelElements / cols / 16 * 16, 16, 512);
  const std::int64_t panels = (end - begin + widest - 1) / widest;
  const std::int64_t panel =
      ((end - begin + panels - 1) / panels + 15) / 16 * 16;  // about as wide as one another
  thread_local std::vector<float> scratch;
  scratch.resize(static_cast<std::size_t>(panel * cols));
  for (std::int64_t row = begin; row < end; row += panel) {
    const std::int64_t count = std::min(panel, end - row);
    widenElements(args.weight.data, args.weight.dtype, row * cols, count * cols, 1.0F, scratch.data());
    productOfRows(args, scratch.data(), row, count);
  }
}

}  // namespace

void linear(const LinearArgs& args, ThreadPool& pool) {
  if (args.T == 0) return;
  if (isPacked(args.weight.dtype)) return packedLinear(args, pool);
  const bool product = args.T >= kGemmTokens && args.weight.cols > 0;
  const auto rows = product ? productByPanels : HWY_DYNAMIC_DISPATCH(linearRows);
  const double perRow = (product ? 0.03 : 0.1) * static_cast<double>(args.weight.cols * args.T);
  pool.parallelFor(args.weight.rows, grainFor(perRow, 16),
                   [&](std::int64_t begin, std::int64_t end, int) { rows(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
