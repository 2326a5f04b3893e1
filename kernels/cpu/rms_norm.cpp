#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rms_norm.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

float sumOfSquares(const float* x, std::int64_t n) {
  const std::int64_t lanes = laneCount();
  FloatVec even = hn::Zero(FloatTag());
  FloatVec odd = even;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const FloatVec a = loadWide(x + i);
    const FloatVec b = loadWide(x + i + lanes);
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  for (; i < n; i += lanes) {
    const FloatVec a = loadUpTo(x + i, std::min(lanes, n - i));
    even = hn::MulAdd(a, a, even);
  }
  return sumOf(hn::Add(even, odd));
}

}  // namespace

void rmsNormRows(const RmsNormArgs& args, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  const FloatVec one = hn::Set(d, 1.0F);
  for (std::int64_t t = begin; t < end; ++t) {
    const float* x = args.x + t * args.D;
    float* out = args.out + t * args.D;
    const float mean = sumOfSquares(x, args.D) / static_cast<float>(args.D);
    const FloatVec scale = hn::Set(d, 1.0F / std::sqrt(mean + args.eps));
    for (std::int64_t i = 0; i < args.D; i += lanes) {
      const std::int64_t count = std::min(lanes, args.D - i);
      const FloatVec weight = hn::Add(one, loadUpTo(args.weight + i, count));
      storeUpTo(hn::Mul(hn::Mul(loadUpTo(x + i, count), scale), weight), out + i, count);
    }
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(rmsNormRows);

void rmsNorm(const RmsNormArgs& args, ThreadPool& pool) {
  const auto rows = HWY_DYNAMIC_DISPATCH(rmsNormRows);
  pool.parallelFor(args.T, grainFor(0.3 * static_cast<double>(args.D)),
                   [&](std::int64_t begin, std::int64_t end, int) { rows(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
