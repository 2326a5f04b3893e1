// Vector helpers shared by the Highway kernels; compiled once per instruction set (see hwy/foreach_target.h).
// Tails are loaded through a zero-padded buffer, so that every element takes the same arithmetic wherever the
// split between threads falls, and nothing beyond an array's end is ever read.
#if defined(EYRIE_KERNELS_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_KERNELS_CPU_SIMD_INL_H
#undef EYRIE_KERNELS_CPU_SIMD_INL_H
#else
#define EYRIE_KERNELS_CPU_SIMD_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "kernels/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
constexpr std::size_t kMaxLanes = hn::MaxLanes(FloatTag());

HWY_INLINE std::int64_t laneCount() {
  return static_cast<std::int64_t>(hn::Lanes(FloatTag()));
}

// work(element), an element of the type that `dtype` stores; nothing for packed weights, which have no single
// ones.
template <class Work>
HWY_INLINE void withStored(DType dtype, const Work& work) {
  switch (dtype) {
    case DType::f32:
      return work(float{});
    case DType::f16:
      return work(hwy::float16_t{});
    case DType::bf16:
      return work(hwy::bfloat16_t{});
    case DType::int8:
    case DType::int4:
      return;
  }
}

// A full vector of stored elements, widened to f32.
HWY_INLINE FloatVec loadWide(const float* from) {
  return hn::LoadU(FloatTag(), from);
}
template <class Stored>
HWY_INLINE FloatVec loadWide(const Stored* from) {
  const FloatTag d;
  const hn::Rebind<Stored, FloatTag> dStored;
  return hn::PromoteTo(d, hn::LoadU(dStored, from));
}

#if (HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2) || HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
// Without hardware conversion: Highway's own makes 65536 of infinity. Shifting the exponent by multiplication
// also normalises subnormals.
HWY_INLINE FloatVec loadWide(const hwy::float16_t* from) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> dBits;
  const hn::Rebind<std::uint16_t, FloatTag> dStored;
  const auto bits = hn::PromoteTo(dBits, hn::LoadU(dStored, reinterpret_cast<const std::uint16_t*>(from)));
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(dBits, 0x7fffU)));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(dBits, 0x8000U)));
  const FloatVec finite = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112F));
  const FloatVec special = hn::BitCast(d, hn::Or(magnitude, hn::Set(dBits, 0x7f800000U)));
  const auto isSpecial = hn::Ge(finite, hn::Set(d, 65536.0F));
  return hn::Or(hn::IfThenElse(isSpecial, special, finite), hn::BitCast(d, sign));
}
#endif

// The first `count` (fewer than a vector) elements, the other lanes zero. Tails are calls, not inlined: they
// are rare, and their buffers would dominate the code (and, with sanitizers, the compile time).
template <class Stored>
HWY_NOINLINE FloatVec loadTail(const Stored* from, std::int64_t count) {
  HWY_ALIGN Stored buffer[kMaxLanes] = {};
  std::memcpy(buffer, from, static_cast<std::size_t>(count) * sizeof(Stored));
  return loadWide(buffer);
}

template <class Vec>
HWY_NOINLINE void storeTail(Vec value, float* to, std::int64_t count) {
  HWY_ALIGN float buffer[kMaxLanes];
  hn::Store(value, FloatTag(), buffer);
  std::memcpy(to, buffer, static_cast<std::size_t>(count) * sizeof(float));
}

// `count` may be a whole vector or less.
template <class Stored>
HWY_INLINE FloatVec loadUpTo(const Stored* from, std::int64_t count) {
  return count == laneCount() ? loadWide(from) : loadTail(from, count);
}

HWY_INLINE void storeUpTo(FloatVec value, float* to, std::int64_t count) {
  if (count == laneCount()) {
    hn::StoreU(value, FloatTag(), to);
  } else {
    storeTail(value, to, count);
  }
}

// a b + sum, written over the sum: GCC writes some of them over a factor, and moves others to memory and
// back.
HWY_INLINE FloatVec addProduct(FloatVec sum, FloatVec a, FloatVec b) {
#if HWY_TARGET == HWY_AVX2
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.raw) : "x"(a.raw), "x"(b.raw));
  return sum;
#else
  return hn::MulAdd(a, b, sum);
#endif
}

HWY_INLINE float sumOf(FloatVec value) {
  return hn::GetLane(hn::SumOfLanes(FloatTag(), value));
}
HWY_INLINE float maxOf(FloatVec value) {
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), value));
}

// The largest magnitude of `count` values; NaN where one is not finite.
HWY_INLINE float reachOf(const float* x, std::int64_t count) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  FloatVec most = hn::Zero(d);
  FloatVec spoilt = hn::Zero(d);  // 0 * infinity and 0 * NaN are NaN
  for (std::int64_t i = 0; i < count; i += lanes) {
    const FloatVec value = loadUpTo(x + i, std::min(lanes, count - i));
    most = hn::Max(most, hn::Abs(value));
    spoilt = hn::MulAdd(value, hn::Zero(d), spoilt);
  }
  return std::isnan(sumOf(spoilt)) ? NAN : maxOf(most);
}
// Values that reach less count as zeros where they are rounded to codes: the inverse would overflow.
constexpr float kSmallestReach = 1e-30F;

// clang with -fsanitize=undefined takes minutes over a function with several of these inlined.
#undef EYRIE_SIMD_MATH
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EYRIE_SIMD_MATH \
  template <class Vec>  \
  HWY_NOINLINE
#endif
#endif
#ifndef EYRIE_SIMD_MATH
#define EYRIE_SIMD_MATH \
  template <class Vec>  \
  HWY_INLINE
#endif

// e^x for x <= 0, within 1 ulp (tests: functions_test) down to 0; the clamp keeps -infinity in range.
EYRIE_SIMD_MATH Vec expOfNonPositive(Vec x) {
  const FloatTag d;
  return hn::Exp(d, hn::Max(x, hn::Set(d, -120.0F)));
}

constexpr float kLog2E = 1.44269504F;
constexpr float kRound = 0x1.8p23F;  // Adding it rounds to a whole number and leaves that in the low bits.

// value 2^n, of the sum of a whole number n and kRound.
HWY_INLINE FloatVec timesPower(FloatVec value, FloatVec shifted) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> dInt;
  return hn::BitCast(d, hn::Add(hn::BitCast(dInt, value), hn::ShiftLeft<23>(hn::BitCast(dInt, shifted))));
}

// e^x, within 2 ulp for -87 <= x <= 88; beyond that its value at the bound.
// (x86's Min and Max return their second argument where one is NaN: it stays.)
EYRIE_SIMD_MATH Vec expOf(Vec x) {
  const FloatTag d;
  const FloatVec within = hn::Min(hn::Set(d, 88.0F), hn::Max(hn::Set(d, -87.0F), x));
  const FloatVec shifted = hn::MulAdd(within, hn::Set(d, kLog2E), hn::Set(d, kRound));
  const FloatVec whole = hn::Sub(shifted, hn::Set(d, kRound));
  FloatVec f = hn::NegMulAdd(whole, hn::Set(d, 0x1.62e4p-1F), within);  // ln 2 in two parts
  f = hn::NegMulAdd(whole, hn::Set(d, 0x1.7f7d1cp-20F), f);
  FloatVec series = hn::Set(d, 1.0F / 5040.0F);  // f^8/8! is below a tenth of an ulp
  for (const float c : {1.0F / 720.0F, 1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F}) {
    series = hn::MulAdd(series, f, hn::Set(d, c));
  }
  const FloatVec rest = hn::MulAdd(hn::Mul(f, f), series, f);
  const FloatVec scale = timesPower(hn::Set(d, 1.0F), shifted);
  return hn::MulAdd(scale, rest, scale);
}

// 2^x = scale (1 + rest), rest within 2 ulp of 2^f - 1 for f within half of 0, also where that is tiny; x <=
// 0 counts down to -126.
struct Power {
  FloatVec scale;
  FloatVec rest;
};

EYRIE_SIMD_MATH Power powerOf(Vec x) {
  const FloatTag d;
  x = hn::Max(hn::Set(d, -126.0F), x);
  const FloatVec shifted = hn::Add(x, hn::Set(d, kRound));
  const FloatVec f = hn::Sub(x, hn::Sub(shifted, hn::Set(d, kRound)));
  // Of least error relative to 2^f - 1, 1e-8.
  FloatVec slope = hn::MulAdd(f, hn::Set(d, 0x1.4308fap-13F), hn::Set(d, 0x1.5f07b8p-10F));
  for (const float c : {0x1.3b2bap-7F, 0x1.c6af6ep-5F, 0x1.ebfbdep-3F, 0x1.62e43p-1F}) {
    slope = hn::MulAdd(slope, f, hn::Set(d, c));
  }
  return {timesPower(hn::Set(d, 1.0F), shifted), hn::Mul(slope, f)};
}

// a = e^log_a and the RG-LRU's m = sqrt(1 - a^2) from one power; log_a <= 0. Accurate near a = 1 (trap 7):
// 1 - a^2 = (1 - a)(1 + a), and 1 - a = -(2^x - 1) is right to a few ulp of itself; m to 3, and a to 3 + 1.4
// |log_a|, for x is rounded. Tests: trap7DecayIsAccurateNearOne, decayIsAccurateNearOne, functions_test.
struct Decay {
  FloatVec a;
  FloatVec multiplier;
};

EYRIE_SIMD_MATH Decay decayOf(Vec logDecay) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0F);
  const Power power = powerOf(hn::Mul(logDecay, hn::Set(d, kLog2E)));
  const FloatVec a = hn::MulAdd(power.scale, power.rest, power.scale);
  const FloatVec lost = hn::NegMulAdd(power.scale, power.rest, hn::Sub(one, power.scale));  // 1 - a
  return {a, hn::Sqrt(hn::Mul(lost, hn::Add(one, a)))};
}

// 1 / (1 + e^-x), relatively accurate on both sides (3 ulp).
EYRIE_SIMD_MATH Vec sigmoid(Vec x) {
  const FloatVec one = hn::Set(FloatTag(), 1.0F);
  return hn::Div(one, hn::Add(one, expOf(hn::Neg(x))));
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
