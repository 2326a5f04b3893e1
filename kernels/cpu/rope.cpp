#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

// Rotates every head of one token by the given cosines and sines (half of them each).
void ropeRotate(float* x, std::int64_t heads, std::int64_t Dh, std::int64_t half, const float* cosines,
                const float* sines) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t j = 0; j < half; j += lanes) {
    const std::int64_t count = std::min(lanes, half - j);
    const FloatVec cosine = loadUpTo(cosines + j, count);
    const FloatVec sine = loadUpTo(sines + j, count);
    for (std::int64_t head = 0; head < heads; ++head) {
      float* pair = x + head * Dh + j;
      const FloatVec first = loadUpTo(pair, count);
      const FloatVec second = loadUpTo(pair + half, count);
      storeUpTo(hn::NegMulAdd(second, sine, hn::Mul(first, cosine)), pair, count);
      storeUpTo(hn::MulAdd(first, sine, hn::Mul(second, cosine)), pair + half, count);
    }
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(ropeRotate);

std::vector<double> frequenciesOf(const RopeArgs& args) {
  std::vector<double> frequencies(static_cast<std::size_t>(args.rotary / 2));
  for (std::size_t j = 0; j < frequencies.size(); ++j) {
    frequencies[j] = std::pow(args.theta, -2.0 * static_cast<double>(j) / static_cast<double>(args.rotary));
  }
  return frequencies;
}

void rotateTokens(const RopeArgs& args, const std::vector<double>& frequencies, std::int64_t begin,
                  std::int64_t end) {
  const auto rotate = HWY_DYNAMIC_DISPATCH(ropeRotate);
  std::vector<float> table(2 * frequencies.size());
  float* cosines = table.data();
  float* sines = cosines + frequencies.size();
  for (std::int64_t t = begin; t < end; ++t) {
    const auto position = static_cast<double>(args.firstPosition + t);
    for (std::size_t j = 0; j < frequencies.size(); ++j) {
      const double angle = position * frequencies[j];
      cosines[j] = static_cast<float>(std::cos(angle));
      sines[j] = static_cast<float>(std::sin(angle));
    }
    rotate(args.x + t * args.heads * args.Dh, args.heads, args.Dh, args.rotary / 2, cosines, sines);
  }
}

}  // namespace

void rope(const RopeArgs& args, ThreadPool& pool) {
  const std::vector<double> frequencies = frequenciesOf(args);
  const double perToken = 20.0 * static_cast<double>(args.rotary);
  pool.parallelFor(args.T, grainFor(perToken), [&](std::int64_t begin, std::int64_t end, int) {
    rotateTokens(args, frequencies, begin, end);
  });
}

}  // namespace eyrie::kernels::cpu
#endif
