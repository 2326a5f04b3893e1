#include "kernels/complex_rg_lru.h"

#include <algorithm>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/complex_rg_lru.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

HWY_INLINE void observe(float* tap, std::int64_t at, FloatVec value, std::int64_t count) {
  if (tap != nullptr) storeUpTo(value, tap + at, count);
}

EYRIE_SIMD_MATH Vec cosine(Vec x) {
  return hn::Cos(FloatTag(), x);
}
EYRIE_SIMD_MATH Vec sine(Vec x) {
  return hn::Sin(FloatTag(), x);
}

// One step of `count` channels from c on.
template <bool kTaps>
HWY_INLINE void stepChannels(const ComplexRgLruArgs& args, std::int64_t t, std::int64_t c,
                             std::int64_t count) {
  const std::int64_t gate = t * args.C + c;
  const std::int64_t real = 2 * t * args.C + c;
  const std::int64_t imag = real + args.C;
  float* stateReal = args.state + c;
  float* stateImag = stateReal + args.C;

  const FloatVec recurrenceGate = sigmoid(loadUpTo(args.recurrencePre + gate, count));
  const FloatVec inputGate = sigmoid(loadUpTo(args.inputPre + gate, count));
  const FloatVec logDecay = hn::Neg(hn::Mul(recurrenceGate, loadUpTo(args.decayRate + c, count)));
  const auto [decay, multiplier] = decayOf(logDecay);
  const FloatVec angle = hn::Mul(recurrenceGate, loadUpTo(args.angleRate + c, count));
  const FloatVec aReal = hn::Mul(decay, cosine(angle));
  const FloatVec aImag = hn::Mul(decay, sine(angle));
  FloatVec writeReal = hn::Mul(inputGate, loadUpTo(args.x + real, count));
  FloatVec writeImag = hn::Mul(inputGate, loadUpTo(args.x + imag, count));
  FloatVec hReal = hn::Zero(FloatTag());
  FloatVec hImag = hReal;
  if (!(args.startsSequence && t == 0)) {
    writeReal = hn::Mul(multiplier, writeReal);
    writeImag = hn::Mul(multiplier, writeImag);
    hReal = loadUpTo(stateReal, count);
    hImag = loadUpTo(stateImag, count);
  }
  // Explicit multiply-adds: left to the compiler, taps would decide whether it fuses, and change bits.
  const FloatVec nextReal = hn::MulAdd(aReal, hReal, hn::NegMulAdd(aImag, hImag, writeReal));
  const FloatVec nextImag = hn::MulAdd(aReal, hImag, hn::MulAdd(aImag, hReal, writeImag));
  if constexpr (kTaps) {
    observe(args.taps.recurrenceGate, gate, recurrenceGate, count);
    observe(args.taps.inputGate, gate, inputGate, count);
    observe(args.taps.logDecay, gate, logDecay, count);
    observe(args.taps.decay, gate, decay, count);
    observe(args.taps.angle, gate, angle, count);
    observe(args.taps.write, real, writeReal, count);
    observe(args.taps.write, imag, writeImag, count);
    observe(args.taps.keep, real, hn::NegMulAdd(aImag, hImag, hn::Mul(aReal, hReal)), count);
    observe(args.taps.keep, imag, hn::MulAdd(aImag, hReal, hn::Mul(aReal, hImag)), count);
  }
  storeUpTo(nextReal, stateReal, count);
  storeUpTo(nextImag, stateImag, count);
  storeUpTo(nextReal, args.out + real, count);
  storeUpTo(nextImag, args.out + imag, count);
}

template <bool kTaps>
void scan(const ComplexRgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t c = begin; c < end; c += lanes) {
      stepChannels<kTaps>(args, t, c, std::min(lanes, end - c));
    }
  }
}

}  // namespace

void complexRgLruChannels(const ComplexRgLruArgs& args, std::int64_t begin, std::int64_t end) {
  const ComplexRgLruTaps& taps = args.taps;
  const bool observed = taps.recurrenceGate != nullptr || taps.inputGate != nullptr ||
                        taps.logDecay != nullptr || taps.decay != nullptr || taps.angle != nullptr ||
                        taps.write != nullptr || taps.keep != nullptr;
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

HWY_EXPORT(complexRgLruChannels);

void complexRgLru(const ComplexRgLruArgs& args, ThreadPool& pool) {
  const auto channels = HWY_DYNAMIC_DISPATCH(complexRgLruChannels);
  pool.parallelFor(args.C, grainFor(6.0 * static_cast<double>(args.T), 16),
                   [&](std::int64_t begin, std::int64_t end, int) { channels(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
