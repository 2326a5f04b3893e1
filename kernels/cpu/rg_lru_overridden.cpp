#include <algorithm>

#include "kernels/cpu/grain.h"
#include "kernels/rg_lru.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rg_lru_overridden.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

// Apart from rg_lru.cpp, so that the recurrence as it is used nearly always stays as fast, and as short.
HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

HWY_INLINE void observe(float* tap, std::int64_t at, FloatVec value, std::int64_t count) {
  if (tap != nullptr) storeUpTo(value, tap + at, count);
}

HWY_INLINE FloatVec mapped(const RgLruOverrides::Channels& channels, std::int64_t r, FloatVec value,
                           std::int64_t count) {
  return hn::MulAdd(loadUpTo(channels.scale + r, count), value, loadUpTo(channels.offset + r, count));
}

// sqrt(1 - a^2) without forming 1 - a (trap 7); of ln a = -infinity it is 1.
EYRIE_SIMD_MATH Vec multiplierOf(Vec logDecay) {
  const FloatTag d;
  return hn::Sqrt(hn::Abs(hn::Expm1(d, hn::Max(hn::Add(logDecay, logDecay), hn::Set(d, -120.0F)))));
}

// One step of `count` channels from r on.
void stepChannels(const RgLruArgs& args, std::int64_t t, std::int64_t r, std::int64_t count) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0F);
  const RgLruOverrides& edits = *args.overrides;
  const std::int64_t at = t * args.R + r;
  const bool reset = args.startsSequence && t == 0;
  FloatVec recurrenceGate = sigmoid(loadUpTo(args.recurrencePre + at, count));
  recurrenceGate = hn::Min(one, mapped(edits.recurrenceGate, r, recurrenceGate, count));
  FloatVec inputGate = sigmoid(loadUpTo(args.inputPre + at, count));
  inputGate = hn::Min(one, mapped(edits.inputGate, r, inputGate, count));
  FloatVec logDecay = hn::Neg(hn::Mul(recurrenceGate, loadUpTo(args.decayRate + r, count)));
  logDecay = hn::Min(hn::Zero(d), mapped(edits.logDecay, r, logDecay, count));
  const FloatVec decay = expOfNonPositive(logDecay);
  FloatVec multiplier = one;
  FloatVec before = hn::Zero(d);
  if (!reset) {
    multiplier = multiplierOf(logDecay);
    before = loadUpTo(args.state + r, count);
  }
  multiplier = hn::Min(one, mapped(edits.multiplier, r, multiplier, count));
  const FloatVec write = hn::Mul(multiplier, hn::Mul(inputGate, loadUpTo(args.x + at, count)));
  const FloatVec state = mapped(edits.state, r, hn::MulAdd(decay, before, write), count);
  observe(args.taps.recurrenceGate, at, recurrenceGate, count);
  observe(args.taps.inputGate, at, inputGate, count);
  observe(args.taps.logDecay, at, logDecay, count);
  observe(args.taps.decay, at, decay, count);
  observe(args.taps.write, at, write, count);
  observe(args.taps.keep, at, hn::Mul(decay, before), count);
  storeUpTo(state, args.state + r, count);
  storeUpTo(state, args.out + at, count);
}

}  // namespace

void rgLruOverriddenChannels(const RgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t r = begin; r < end; r += lanes) stepChannels(args, t, r, std::min(lanes, end - r));
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(rgLruOverriddenChannels);

void rgLruOverridden(const RgLruArgs& args, ThreadPool& pool) {
  const auto channels = HWY_DYNAMIC_DISPATCH(rgLruOverriddenChannels);
  pool.parallelFor(args.R, grainFor(4.0 * static_cast<double>(args.T), 16),
                   [&](std::int64_t begin, std::int64_t end, int) { channels(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
