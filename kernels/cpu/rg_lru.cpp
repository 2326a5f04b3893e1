#include "kernels/rg_lru.h"

#include <algorithm>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rg_lru.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

HWY_INLINE void observe(float* tap, std::int64_t at, FloatVec value, std::int64_t count) {
  if (tap != nullptr) storeUpTo(value, tap + at, count);
}

// Channels taken through each stage together: a stage's vectors do not wait for one another, while a single
// channel's chain of exponentials, division and root would keep the processor waiting.
constexpr std::int64_t kBlock = 64;

// kWhole: `count` is a multiple of the vector's length.
template <bool kWhole, class Body>
HWY_INLINE void forVectors(std::int64_t count, const Body& body) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t i = 0; i < count; i += lanes) body(i, kWhole ? lanes : std::min(lanes, count - i));
}

template <bool kWhole>
HWY_INLINE FloatVec load(const float* from, std::int64_t count) {
  return kWhole ? loadWide(from) : loadUpTo(from, count);
}

template <bool kWhole>
HWY_INLINE void store(FloatVec value, float* to, std::int64_t count) {
  if (kWhole) {
    hn::StoreU(value, FloatTag(), to);
  } else {
    storeUpTo(value, to, count);
  }
}

// One step of `count` <= kBlock channels from r on.
template <bool kTaps, bool kWhole>
HWY_INLINE void stepChannels(const RgLruArgs& args, std::int64_t t, std::int64_t r, std::int64_t count) {
  const FloatTag d;
  const std::int64_t at = t * args.R + r;
  const bool reset = args.startsSequence && t == 0;
  HWY_ALIGN float decays[kBlock];
  HWY_ALIGN float writes[kBlock];
  forVectors<kWhole>(count, [&](std::int64_t i, std::int64_t n) {
    const FloatVec gate = sigmoid(load<kWhole>(args.recurrencePre + at + i, n));
    if constexpr (kTaps) observe(args.taps.recurrenceGate, at + i, gate, n);
    hn::Store(hn::Neg(hn::Mul(gate, load<kWhole>(args.decayRate + r + i, n))), d, decays + i);
  });
  forVectors<kWhole>(count, [&](std::int64_t i, std::int64_t n) {
    const FloatVec gate = sigmoid(load<kWhole>(args.inputPre + at + i, n));
    if constexpr (kTaps) observe(args.taps.inputGate, at + i, gate, n);
    hn::Store(hn::Mul(gate, load<kWhole>(args.x + at + i, n)), d, writes + i);
  });
  forVectors<kWhole>(count, [&](std::int64_t i, std::int64_t n) {
    const FloatVec logDecay = hn::Load(d, decays + i);
    const auto [decay, multiplier] = decayOf(logDecay);
    const FloatVec written = hn::Load(d, writes + i);
    const FloatVec write = reset ? written : hn::Mul(multiplier, written);
    const FloatVec before = reset ? hn::Zero(d) : load<kWhole>(args.state + r + i, n);
    // One explicit multiply-add: left to the compiler, taps would decide whether it fuses, and change bits.
    const FloatVec state = hn::MulAdd(decay, before, write);
    if constexpr (kTaps) {
      observe(args.taps.logDecay, at + i, logDecay, n);
      observe(args.taps.decay, at + i, decay, n);
      observe(args.taps.write, at + i, write, n);
      observe(args.taps.keep, at + i, hn::Mul(decay, before), n);
    }
    store<kWhole>(state, args.state + r + i, n);
    store<kWhole>(state, args.out + at + i, n);
  });
}

template <bool kTaps>
void scan(const RgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t whole = begin + (end - begin) / kBlock * kBlock;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t r = begin; r < whole; r += kBlock) stepChannels<kTaps, true>(args, t, r, kBlock);
    if (whole < end) stepChannels<kTaps, false>(args, t, whole, end - whole);
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
  // As few parts as threads: each row of each part is in other pages, which to find costs more than waiting.
  const std::int64_t widest = (args.R / pool.size() + 15) / 16 * 16;
  pool.parallelFor(args.R, std::max(grainFor(3.0 * static_cast<double>(args.T), 16), widest),
                   [&](std::int64_t begin, std::int64_t end, int) { channels(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
