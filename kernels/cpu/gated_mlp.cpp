#include "kernels/gated_mlp.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gated_mlp.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// x/2 (1 + tanh u) = x sigmoid(2u): one exponential, and no cancellation where tanh nears -1.
struct GeluTanh {
  static HWY_INLINE FloatVec apply(FloatVec x) {
    const FloatTag d;
    const FloatVec cubic = hn::Mul(hn::Mul(x, x), hn::Set(d, 0.044715F));
    const FloatVec inner = hn::MulAdd(cubic, x, x);
    return hn::Mul(x, sigmoid(hn::Mul(inner, hn::Set(d, 2.0F * 0.7978845608028654F))));
  }
};

struct Silu {
  static HWY_INLINE FloatVec apply(FloatVec x) { return hn::Mul(x, sigmoid(x)); }
};

struct Relu {
  static HWY_INLINE FloatVec apply(FloatVec x) { return hn::Max(x, hn::Zero(FloatTag())); }
};

template <class Function>
void applyRange(const GatedActivationArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t i = begin; i < end; i += lanes) {
    const std::int64_t count = std::min(lanes, end - i);
    const FloatVec gate = Function::apply(loadUpTo(args.gate + i, count));
    storeUpTo(hn::Mul(gate, loadUpTo(args.up + i, count)), args.out + i, count);
  }
}

// No released model uses the exact GELU: scalar erf is enough.
void applyErfGelu(const GatedActivationArgs& args, std::int64_t begin, std::int64_t end) {
  constexpr float kSqrtHalf = 0.7071067811865476F;
  for (std::int64_t i = begin; i < end; ++i) {
    const float x = args.gate[i];
    args.out[i] = 0.5F * x * (1.0F + std::erf(x * kSqrtHalf)) * args.up[i];
  }
}

}  // namespace

void gatedActivationRange(const GatedActivationArgs& args, std::int64_t begin, std::int64_t end) {
  switch (args.activation) {
    case Activation::geluTanh:
      return applyRange<GeluTanh>(args, begin, end);
    case Activation::silu:
      return applyRange<Silu>(args, begin, end);
    case Activation::gelu:
      return applyErfGelu(args, begin, end);
    case Activation::relu:
      return applyRange<Relu>(args, begin, end);
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(gatedActivationRange);

void gatedActivation(const GatedActivationArgs& args, ThreadPool& pool) {
  const auto range = HWY_DYNAMIC_DISPATCH(gatedActivationRange);
  pool.parallelFor(args.n, grainFor(1.0, 64),
                   [&](std::int64_t begin, std::int64_t end, int) { range(args, begin, end); });
}

}  // namespace eyrie::kernels::cpu
#endif
