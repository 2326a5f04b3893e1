#include "kernels/conv1d.h"

#include <algorithm>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv1d.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// The row of inputs at time t of this call; negative times lie in the tail.
const float* inputRow(const Conv1dArgs& args, std::int64_t t) {
  return t >= 0 ? args.x + t * args.R : args.tail + (t + args.K - 1) * args.R;
}

void convolveRow(const Conv1dArgs& args, std::int64_t t, std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t r = begin; r < end; r += lanes) {
    const std::int64_t count = std::min(lanes, end - r);
    FloatVec sum = loadUpTo(args.bias + r, count);
    for (std::int64_t k = 0; k < args.K; ++k) {
      const FloatVec weight = loadUpTo(args.weight + k * args.R + r, count);
      sum = hn::MulAdd(weight, loadUpTo(inputRow(args, t - (args.K - 1) + k) + r, count), sum);
    }
    storeUpTo(sum, args.out + t * args.R + r, count);
  }
}

}  // namespace

void conv1dChannels(const Conv1dArgs& args, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = 0; t < args.T; ++t) convolveRow(args, t, begin, end);
  // Rising slots read only slots not yet overwritten; with T < K-1 source and target are rows of the tail.
  for (std::int64_t slot = 0; slot < args.K - 1; ++slot) {
    const float* source = inputRow(args, args.T - (args.K - 1) + slot);
    std::copy(source + begin, source + end, args.tail + slot * args.R + begin);
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(conv1dChannels);

void conv1d(const Conv1dArgs& args, ThreadPool& pool) {
  if (args.T == 0) return;
  const auto channels = HWY_DYNAMIC_DISPATCH(conv1dChannels);
  pool.parallelFor(args.R, grainFor(0.2 * static_cast<double>(args.T * args.K), 16),
                   [&](std::int64_t begin, std::int64_t end, int) { channels(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
