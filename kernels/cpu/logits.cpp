#include "kernels/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/logits.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

void softCapRange(const SoftCapArgs& args, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  const FloatVec cap = hn::Set(d, args.cap);
  // Beyond 20 tanh is 1 in f32; the clamp keeps infinities out of the exponential.
  const FloatVec limit = hn::Set(d, 20.0F);
  for (std::int64_t i = begin; i < end; i += lanes) {
    const std::int64_t count = std::min(lanes, end - i);
    const FloatVec scaled = hn::Div(loadUpTo(args.logits + i, count), cap);
    const FloatVec clamped = hn::Min(hn::Max(scaled, hn::Neg(limit)), limit);
    // A NaN stays one, so that a damaged model shows: Min and Max may drop it.
    const FloatVec kept = hn::IfThenElse(hn::IsNaN(scaled), scaled, clamped);
    storeUpTo(hn::Mul(cap, hn::Tanh(d, kept)), args.logits + i, count);
  }
}

float largestOf(const float* logits, std::int64_t n) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  float largest = -std::numeric_limits<float>::infinity();
  FloatVec lane = hn::Set(d, largest);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) lane = hn::Max(lane, loadWide(logits + i));
  for (; i < n; ++i) largest = std::max(largest, logits[i]);
  return std::max(largest, maxOf(lane));
}

// Sums of e^z and e^z z with z = logit - largest.
void expSums(const float* logits, std::int64_t n, float largest, float& sum, float& weighted) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  const FloatVec shift = hn::Set(d, largest);
  FloatVec sums = hn::Zero(d);
  FloatVec weights = hn::Zero(d);
  for (std::int64_t i = 0; i < n; i += lanes) {
    const std::int64_t count = std::min(lanes, n - i);
    // The clamp makes 0 * -infinity a plain 0: e^-110 is 0 in f32.
    const FloatVec z = hn::Max(hn::Sub(loadUpTo(logits + i, count), shift), hn::Set(d, -110.0F));
    FloatVec e = expOfNonPositive(z);
    if (count < lanes) e = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(count)), e);
    sums = hn::Add(sums, e);
    weights = hn::MulAdd(e, z, weights);
  }
  sum = sumOf(sums);
  weighted = sumOf(weights);
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(softCapRange);
HWY_EXPORT(largestOf);
HWY_EXPORT(expSums);

constexpr std::int64_t kBlock =
    4096;  // logits per partial sum: fixed, so that the bits are those of any pool

}  // namespace

void softCap(const SoftCapArgs& args, ThreadPool& pool) {
  if (!(args.cap > 0.0F)) return;
  const auto range = HWY_DYNAMIC_DISPATCH(softCapRange);
  pool.parallelFor(args.n, grainFor(1.0, 64),
                   [&](std::int64_t begin, std::int64_t end, int) { range(args, begin, end); });
}

LogitStats logitStats(const float* logits, std::int64_t V, ThreadPool& pool) {
  const float largest = HWY_DYNAMIC_DISPATCH(largestOf)(logits, V);
  if (std::isinf(largest)) return {largest, largest, 0.0F};
  const std::int64_t blocks = (V + kBlock - 1) / kBlock;
  std::vector<float> sums(static_cast<std::size_t>(blocks));
  std::vector<float> weights(sums.size());
  const auto partial = HWY_DYNAMIC_DISPATCH(expSums);
  const auto body = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t b = begin; b < end; ++b) {
      const auto at = static_cast<std::size_t>(b);
      partial(logits + b * kBlock, std::min(kBlock, V - b * kBlock), largest, sums[at], weights[at]);
    }
  };
  pool.parallelFor(blocks, grainFor(1.0 * kBlock), body);
  double sum = 0;
  double weighted = 0;
  for (std::size_t b = 0; b < sums.size(); ++b) {
    sum += sums[b];
    weighted += weights[b];
  }
  const double logSum = std::log(sum);
  return {largest, static_cast<float>(largest + logSum), static_cast<float>(logSum - weighted / sum)};
}

}  // namespace eyrie::kernels::cpu
#endif
