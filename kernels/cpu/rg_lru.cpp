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

// Channels that go through each of the three stages of a step together: a stage's vectors wait for nothing of
// one another, so that many of them are under way at once.
constexpr std::int64_t kStrip = 32 * static_cast<std::int64_t>(kMaxLanes);

struct Strip {
  HWY_ALIGN float recurrence[kStrip];  // e^-|x| of the gate's sum, then -log a
  HWY_ALIGN float input[kStrip];       // e^-|x| of the gate's sum, then i c
};

template <bool kWhole>
HWY_INLINE FloatVec load(const float* from, std::int64_t count) {
  return kWhole ? loadWide(from) : loadUpTo(from, std::min(count, laneCount()));
}

template <bool kWhole>
HWY_INLINE void store(FloatVec value, float* to, std::int64_t count) {
  if (kWhole) {
    hn::StoreU(value, FloatTag(), to);
  } else {
    storeUpTo(value, to, std::min(count, laneCount()));
  }
}

// e^-|x| = 2^n 2^f, f within half of 0; |x| counts up to 87. The gate is right to 3 ulp, and a quarter more
// for each unit of |x|, or 1.4 more where multiply-adds round twice: x log2 e is rounded, and so is log2 e
// (tests/kernels/functions_test.cpp). (x86's Max returns its second argument where one is NaN: it stays.)
HWY_INLINE FloatVec expOfNegativeAbs(FloatVec x) {
  const FloatTag d;
  x = hn::Max(hn::Set(d, -87.0F), hn::Or(hn::SignBit(d), x));
  const FloatVec shifted = hn::MulAdd(x, hn::Set(d, kLog2E), hn::Set(d, kRound));
  const FloatVec f = hn::MulSub(x, hn::Set(d, kLog2E), hn::Sub(shifted, hn::Set(d, kRound)));
  // The polynomial of least relative error, 2e-9.
  FloatVec power = hn::MulAdd(f, hn::Set(d, 0x1.41d33p-13F), hn::Set(d, 0x1.5f457p-10F));
  for (const float c : {0x1.3b2dbcp-7F, 0x1.c6aed4p-5F, 0x1.ebfbdap-3F, 0x1.62e43p-1F, 1.0F}) {
    power = hn::MulAdd(power, f, hn::Set(d, c));
  }
  return timesPower(power, shifted);
}

// One step of some channels of row t. All of a vector's worth if kWhole, else the last may be fewer.
template <bool kTaps, bool kWhole>
struct Step {
  const RgLruArgs& args;
  Strip& strip;
  std::int64_t t;
  std::int64_t r;      // the first channel
  std::int64_t count;  // <= kStrip
  std::int64_t at = t * args.R + r;

  HWY_INLINE void observe(float* tap, std::int64_t i, FloatVec value) const {
    if (kTaps && tap != nullptr) store<kWhole>(value, tap + at + i, count - i);
  }

  // The next row's share of this thread: the processor's own look-ahead ends with the row's page.
  HWY_INLINE void fetchNext(const float* rows, std::int64_t i) const {
    if (kWhole && t + 1 < args.T) hwy::Prefetch(rows + at + args.R + i);
  }

  HWY_INLINE void exponentials() const {
    const auto exponential = [&](const float* rows, float* to, std::int64_t i) {
      fetchNext(rows, i);
      hn::Store(expOfNegativeAbs(load<kWhole>(rows + at + i, count - i)), FloatTag(), to + i);
    };
    for (std::int64_t i = 0; i < count; i += laneCount()) {
      exponential(args.recurrencePre, strip.recurrence, i);
      exponential(args.inputPre, strip.input, i);
    }
  }

  // 1 / (1 + e^-x) is e^-|x| / (1 + e^-|x|) where x < 0.
  HWY_INLINE void gates() const {
    const FloatTag d;
    const FloatVec one = hn::Set(d, 1.0F);
    const auto gate = [&](const float* rows, const float* exponentials, std::int64_t i) {
      const FloatVec exp = hn::Load(d, exponentials + i);
      const FloatVec above = hn::IfNegativeThenElse(load<kWhole>(rows + at + i, count - i), exp, one);
      return hn::Div(above, hn::Add(one, exp));
    };
    for (std::int64_t i = 0; i < count; i += laneCount()) {
      fetchNext(args.x, i);
      const FloatVec recurrence = gate(args.recurrencePre, strip.recurrence, i);
      const FloatVec input = gate(args.inputPre, strip.input, i);
      observe(args.taps.recurrenceGate, i, recurrence);
      observe(args.taps.inputGate, i, input);
      const FloatVec rate = load<kWhole>(args.decayRate + r + i, count - i);
      hn::Store(hn::Mul(recurrence, rate), d, strip.recurrence + i);
      hn::Store(hn::Mul(input, load<kWhole>(args.x + at + i, count - i)), d, strip.input + i);
    }
  }

  HWY_INLINE void states() const {
    const FloatTag d;
    const bool reset = args.startsSequence && t == 0;
    for (std::int64_t i = 0; i < count; i += laneCount()) {
      const FloatVec logDecay = hn::Neg(hn::Load(d, strip.recurrence + i));
      const auto [decay, multiplier] = decayOf(logDecay);
      FloatVec write = hn::Load(d, strip.input + i);
      FloatVec before = hn::Zero(d);
      if (!reset) {
        write = hn::Mul(multiplier, write);
        before = load<kWhole>(args.state + r + i, count - i);
      }
      // One explicit multiply-add: left to the compiler, taps would decide whether it fuses, and change bits.
      const FloatVec h = hn::MulAdd(decay, before, write);
      observe(args.taps.logDecay, i, logDecay);
      observe(args.taps.decay, i, decay);
      observe(args.taps.write, i, write);
      observe(args.taps.keep, i, hn::Mul(decay, before));
      store<kWhole>(h, args.state + r + i, count - i);
      store<kWhole>(h, args.out + at + i, count - i);
    }
  }

  HWY_INLINE void run() const {
    exponentials();
    gates();
    states();
  }
};

template <bool kTaps>
void scan(const RgLruArgs& args, std::int64_t begin, std::int64_t end) {
  Strip strip;
  const std::int64_t whole = begin + (end - begin) / laneCount() * laneCount();
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t r = begin; r < whole; r += kStrip) {
      Step<kTaps, true>{args, strip, t, r, std::min(kStrip, whole - r)}.run();
    }
    if (whole < end) Step<kTaps, false>{args, strip, t, whole, end - whole}.run();
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
