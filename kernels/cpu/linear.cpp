#include "kernels/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/grain.h"
#include "kernels/cpu/linear_dots.h"
#include "kernels/cpu/packed_linear.h"
#include "kernels/cpu/widen.h"
#include "kernels/thread_pool.h"

namespace eyrie::kernels::cpu {
namespace {

// From this many tokens on a matrix product through BLAS is faster than dot products.
constexpr std::int64_t kGemmTokens = 64;
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
  if (args.T < kGemmTokens || args.alone || args.weight.cols == 0) {
    return linearByDots(args, pool);
  }
  const double perRow = 0.03 * static_cast<double>(args.weight.cols * args.T);
  pool.parallelFor(args.weight.rows, grainFor(perRow, 16),
                   [&](std::int64_t begin, std::int64_t end, int) { productByPanels(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
