#include "kernels/gated_mlp.h"

#include <cmath>

namespace eyrie::kernels::reference {
namespace {

float activate(float x, Activation activation) {
  constexpr float kSqrt2OverPi = 0.7978845608028654F;
  constexpr float kSqrtHalf = 0.7071067811865476F;
  switch (activation) {
    case Activation::geluTanh:
      return 0.5F * x * (1.0F + std::tanh(kSqrt2OverPi * (x + 0.044715F * x * x * x)));
    case Activation::silu:
      return x / (1.0F + std::exp(-x));
    case Activation::gelu:
      return 0.5F * x * (1.0F + std::erf(x * kSqrtHalf));
    case Activation::relu:
      return x > 0.0F ? x : 0.0F;
  }
  return x;
}

}  // namespace

void gatedActivation(const GatedActivationArgs& args) {
  for (std::int64_t i = 0; i < args.n; ++i)
    args.out[i] = activate(args.gate[i], args.activation) * args.up[i];
}

}  // namespace eyrie::kernels::reference
