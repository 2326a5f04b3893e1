// The weight of a whole vocabulary. Weights are whole numbers (kernels/draw.h), so that every instruction set
// adds up to the same.
#include "kernels/draw.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/draw.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

// Of the first logits, as many as whole vectors hold: their number is `done` afterwards.
#if HWY_TARGET == HWY_SCALAR
std::uint64_t sumOfWeights(const float*, std::int64_t, float, float, std::int64_t& done) {
  done = 0;
  return 0;
}
#else
using WordTag = hn::RebindToUnsigned<FloatTag>;
using WideTag = hn::RepartitionToWide<WordTag>;
using WideVec = hn::Vec<WideTag>;

// expWeight() of the even lanes' -x, x in units of 2^-26.
HWY_INLINE WideVec evenWeights(hn::Vec<WordTag> x) {
  const WordTag word;
  const WideTag d;
  const WideVec power = hn::MulEven(x, hn::Set(word, static_cast<std::uint32_t>(kTwosInE)));
  const WideVec biased = hn::Sub(hn::Set(d, std::uint64_t{64} << 56), power);
  const auto rest = hn::BitCast(word, hn::ShiftRight<24>(biased));  // of which MulEven takes 32 bits
  WideVec sum = hn::Set(d, kPower6);
  for (const std::uint64_t factor : {kPower5, kPower4, kPower3, kPower2, kPower1, std::uint64_t{1} << 32})
    sum = hn::Add(hn::ShiftRight<32>(hn::MulEven(hn::BitCast(word, sum), rest)), hn::Set(d, factor));
  return hn::Shr(hn::ShiftLeft<30>(sum), hn::Sub(hn::Set(d, 86), hn::ShiftRight<56>(biased)));
}

std::uint64_t sumOfWeights(const float* logits, std::int64_t V, float largest, float temperature,
                           std::int64_t& done) {
  const FloatTag d;
  const WideTag wide;
  const FloatVec top = hn::Set(d, largest);
  const FloatVec divisor = hn::Set(d, temperature);
  WideVec sums = hn::Zero(wide);
  for (done = 0; done + laneCount() <= V; done += laneCount()) {
    const FloatVec x = hn::Div(hn::Sub(loadWide(logits + done), top), divisor);
    const FloatVec least = hn::Set(d, kLeastExponent);
    const FloatVec within = hn::IfThenElse(hn::Gt(x, least), x, least);  // NaN is above nothing
    const auto units = hn::BitCast(
        WordTag(), hn::ConvertTo(hn::RebindToSigned<FloatTag>(), hn::Mul(within, hn::Set(d, -0x1p26F))));
    const auto odd = hn::BitCast(WordTag(), hn::ShiftRight<32>(hn::BitCast(wide, units)));
    sums = hn::Add(sums, hn::Add(evenWeights(units), evenWeights(odd)));
  }
  return hn::GetLane(hn::SumOfLanes(wide, sums));
}
#endif

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(sumOfWeights);

std::uint64_t weightOfAll(const float* logits, std::int64_t V, float largest, float temperature) {
  std::int64_t done = 0;
  std::uint64_t all = 0;
  // Infinities are only equal or not.
  if (std::isfinite(largest)) all = HWY_DYNAMIC_DISPATCH(sumOfWeights)(logits, V, largest, temperature, done);
  return all + reference::weightOfAll(logits + done, V - done, largest, temperature);
}

}  // namespace eyrie::kernels::cpu
#endif
