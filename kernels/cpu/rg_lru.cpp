#include "kernels/rg_lru.h"

#include <hwy/cache_control.h>

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

// Vectors of channels that go through each step of the arithmetic side by side: of the chain of exponentials,
// division and root of one channel the processor's window does not reach the next one's start.
constexpr int kSide = 4;

using Side = FloatVec[kSide];

template <class Body>
HWY_INLINE void each(const Body& body) {
  for (int k = 0; k < kSide; ++k) body(k);
}

// Of up to kSide vectors of channels from an element on.
template <bool kWhole>
struct Span {
  std::int64_t count;

  std::int64_t of(int k) const {
    return kWhole ? laneCount() : std::clamp<std::int64_t>(count - k * laneCount(), 0, laneCount());
  }
  FloatVec load(const float* from, int k) const {
    from += kWhole ? k * laneCount() : std::min(count, k * laneCount());
    return kWhole ? loadWide(from) : loadUpTo(from, of(k));
  }
  void store(FloatVec value, float* to, int k) const {
    if (kWhole) {
      hn::StoreU(value, FloatTag(), to + k * laneCount());
    } else if (of(k) > 0) {
      storeUpTo(value, to + k * laneCount(), of(k));
    }
  }
};

// exponentialOf(-x) of simd-inl.h, the same bits; x is at most 87 and at least -88.
HWY_INLINE void exponentials(const Side& x, Side& scale, Side& rest) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> dInt;
  const FloatVec magic = hn::Set(d, 0x1.8p23F);
  Side shifted, f, series;
  each([&](int k) { shifted[k] = hn::NegMulAdd(x[k], hn::Set(d, 1.44269504F), magic); });
  each([&](int k) { f[k] = hn::Sub(shifted[k], magic); });
  each([&](int k) { rest[k] = hn::NegMulSub(f[k], hn::Set(d, 0x1.62e4p-1F), x[k]); });
  each([&](int k) { f[k] = hn::NegMulAdd(f[k], hn::Set(d, 0x1.7f7d1cp-20F), rest[k]); });
  each([&](int k) { series[k] = hn::MulAdd(f[k], hn::Set(d, 1.0F / 5040.0F), hn::Set(d, 1.0F / 720.0F)); });
  for (const float c : {1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F}) {
    each([&](int k) { series[k] = hn::MulAdd(series[k], f[k], hn::Set(d, c)); });
  }
  each([&](int k) { rest[k] = hn::MulAdd(hn::Mul(f[k], f[k]), series[k], f[k]); });
  const auto one = hn::BitCast(dInt, hn::Set(d, 1.0F));
  each([&](int k) {
    scale[k] = hn::BitCast(d, hn::Add(one, hn::ShiftLeft<23>(hn::BitCast(dInt, shifted[k]))));
  });
}

HWY_INLINE void sigmoids(Side& x) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0F);
  Side scale, rest;
  each([&](int k) { x[k] = hn::Max(hn::Set(d, -88.0F), hn::Min(hn::Set(d, 87.0F), x[k])); });
  exponentials(x, scale, rest);
  each([&](int k) { x[k] = hn::Div(one, hn::Add(one, hn::MulAdd(scale[k], rest[k], scale[k]))); });
}

// Channels whose gates are computed before their states: what one vector's state waits for is then long done.
constexpr std::int64_t kStrip = kSide * 4 * static_cast<std::int64_t>(kMaxLanes);

struct Strip {
  HWY_ALIGN float logDecay[kStrip];  // times -1
  HWY_ALIGN float write[kStrip];     // i c

  static void load(const float* from, Side& to) {
    each([&](int k) { to[k] = hn::Load(FloatTag(), from + k * laneCount()); });
  }
  static void keep(const Side& from, float* to) {
    each([&](int k) { hn::Store(from[k], FloatTag(), to + k * laneCount()); });
  }
};

template <bool kWhole>
HWY_INLINE void observe(float* tap, std::int64_t at, const Span<kWhole>& span, const Side& values) {
  if (tap != nullptr) each([&](int k) { span.store(values[k], tap + at, k); });
}

// The next row's share of this thread: the processor's own look-ahead ends with the row's page.
HWY_INLINE void fetchNextRow(const RgLruArgs& args, std::int64_t at) {
  constexpr std::int64_t kLine = 16;
  for (std::int64_t i = args.R; i < args.R + kSide * laneCount(); i += kLine) {
    for (const float* from : {args.recurrencePre, args.inputPre, args.x, static_cast<const float*>(args.out)})
      hwy::Prefetch(from + at + i);
  }
}

// Of row t's channels from r on.
template <bool kTaps, bool kWhole>
HWY_INLINE void gates(const RgLruArgs& args, std::int64_t t, std::int64_t r, const Span<kWhole>& span,
                      float* logDecay, float* write) {
  const std::int64_t at = t * args.R + r;
  Side recurrence, input;
  if (kWhole && t + 1 < args.T) fetchNextRow(args, at);
  each([&](int k) { recurrence[k] = span.load(args.recurrencePre + at, k); });
  each([&](int k) { input[k] = span.load(args.inputPre + at, k); });
  sigmoids(recurrence);
  sigmoids(input);
  if constexpr (kTaps) {
    observe(args.taps.recurrenceGate, at, span, recurrence);
    observe(args.taps.inputGate, at, span, input);
  }
  each([&](int k) { recurrence[k] = hn::Mul(recurrence[k], span.load(args.decayRate + r, k)); });
  each([&](int k) { input[k] = hn::Mul(input[k], span.load(args.x + at, k)); });
  Strip::keep(recurrence, logDecay);
  Strip::keep(input, write);
}

template <bool kTaps, bool kWhole>
HWY_INLINE void states(const RgLruArgs& args, std::int64_t t, std::int64_t r, const Span<kWhole>& span,
                       const float* logDecay, const float* write) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0F);
  const std::int64_t at = t * args.R + r;
  const bool reset = args.startsSequence && t == 0;
  Side lost, writes, scale, rest, decay;
  Strip::load(logDecay, lost);
  Strip::load(write, writes);
  if constexpr (kTaps) {
    each([&](int k) { rest[k] = hn::Neg(lost[k]); });
    observe(args.taps.logDecay, at, span, rest);
  }
  // As decayOf() of simd-inl.h.
  each([&](int k) { lost[k] = hn::Min(hn::Set(d, 87.0F), lost[k]); });
  exponentials(lost, scale, rest);
  each([&](int k) { decay[k] = hn::MulAdd(scale[k], rest[k], scale[k]); });
  if (!reset) {
    each([&](int k) { lost[k] = hn::NegMulAdd(scale[k], rest[k], hn::Sub(one, scale[k])); });
    each([&](int k) { lost[k] = hn::Sqrt(hn::Mul(lost[k], hn::Add(one, decay[k]))); });
    each([&](int k) { writes[k] = hn::Mul(lost[k], writes[k]); });
  }
  Side& before = scale;
  each([&](int k) { before[k] = reset ? hn::Zero(d) : span.load(args.state + r, k); });
  if constexpr (kTaps) {
    each([&](int k) { rest[k] = hn::Mul(decay[k], before[k]); });
    observe(args.taps.decay, at, span, decay);
    observe(args.taps.write, at, span, writes);
    observe(args.taps.keep, at, span, rest);
  }
  // One explicit multiply-add: left to the compiler, taps would decide whether it fuses, and change bits.
  each([&](int k) { writes[k] = hn::MulAdd(decay[k], before[k], writes[k]); });
  each([&](int k) { span.store(writes[k], args.state + r, k); });
  each([&](int k) { span.store(writes[k], args.out + at, k); });
}

// One step of `count` <= kStrip channels from r on.
template <bool kTaps, bool kWhole>
HWY_INLINE void stepChannels(const RgLruArgs& args, std::int64_t t, std::int64_t r, std::int64_t count) {
  Strip strip;
  const std::int64_t side = kSide * laneCount();
  for (std::int64_t i = 0; i < count; i += side) {
    gates<kTaps, kWhole>(args, t, r + i, {count - i}, strip.logDecay + i, strip.write + i);
  }
  for (std::int64_t i = 0; i < count; i += side) {
    states<kTaps, kWhole>(args, t, r + i, {count - i}, strip.logDecay + i, strip.write + i);
  }
}

template <bool kTaps>
void scan(const RgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t whole = begin + (end - begin) / kStrip * kStrip;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t r = begin; r < whole; r += kStrip) stepChannels<kTaps, true>(args, t, r, kStrip);
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
