#include "kernels/rg_lru.h"

#include <algorithm>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rg_lru.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

// Accuracy near a = 1 (trap 7): log_a is exact to 3 ulp (the sigmoid), a to 1 ulp of 1, and m = sqrt(-expm1(2
// log_a)) to a few ulp of itself, because no 1 - a is ever formed. Test: decayIsAccurateNearOne.
HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

HWY_INLINE void observe(float* tap, std::int64_t at, FloatVec value, std::int64_t count) {
  if (tap != nullptr) storeUpTo(value, tap + at, count);
}

// One step of `count` channels from r on.
template <bool kTaps>
HWY_INLINE void stepChannels(const RgLruArgs& args, std::int64_t t, std::int64_t r, std::int64_t count) {
  const FloatTag d;
  const std::int64_t at = t * args.R + r;
  const FloatVec recurrenceGate = sigmoid(loadUpTo(args.recurrencePre + at, count));
  const FloatVec inputGate = sigmoid(loadUpTo(args.inputPre + at, count));
  const FloatVec logDecay = hn::Neg(hn::Mul(recurrenceGate, loadUpTo(args.decayRate + r, count)));
  const FloatVec decay = expOfNonPositive(logDecay);
  FloatVec write = hn::Mul(inputGate, loadUpTo(args.x + at, count));
  FloatVec before = hn::Zero(d);
  const bool reset = args.startsSequence && t == 0;
  if (!reset) {
    const FloatVec lost = hn::Neg(expm1OfNonPositive(hn::Add(logDecay, logDecay)));  // 1 - a^2
    write = hn::Mul(hn::Sqrt(lost), write);
    before = loadUpTo(args.state + r, count);
  }
  // One explicit multiply-add: left to the compiler, taps would decide whether it fuses, and change bits.
  const FloatVec state = hn::MulAdd(decay, before, write);
  if constexpr (kTaps) {
    observe(args.taps.recurrenceGate, at, recurrenceGate, count);
    observe(args.taps.inputGate, at, inputGate, count);
    observe(args.taps.logDecay, at, logDecay, count);
    observe(args.taps.decay, at, decay, count);
    observe(args.taps.write, at, write, count);
    observe(args.taps.keep, at, hn::Mul(decay, before), count);
  }
  storeUpTo(state, args.state + r, count);
  storeUpTo(state, args.out + at, count);
}

template <bool kTaps>
void scan(const RgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t r = begin; r < end; r += lanes) {
      stepChannels<kTaps>(args, t, r, std::min(lanes, end - r));
    }
  }
}

}  // namespace

void rgLruChannels(const RgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const RgLruTaps& taps = args.taps;
  const bool observed = taps.recurrenceGate != nullptr || taps.inputGate != nullptr ||
                        taps.logDecay != nullptr || taps.decay != nullptr || taps.write != nullptr ||
                        taps.keep != nullptr;
  if (observed) {
    scan<true>(args, begin, end);
  } else {
    scan<false>(args, begin, end);
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(rgLruChannels);

void rgLru(const RgLruArgs& args, ThreadPool& pool) {
  if (args.overrides != nullptr) return rgLruOverridden(args, pool);
  const auto channels = HWY_DYNAMIC_DISPATCH(rgLruChannels);
  pool.parallelFor(args.R, grainFor(3.0 * static_cast<double>(args.T), 16),
                   [&](std::int64_t begin, std::int64_t end, int) { channels(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
