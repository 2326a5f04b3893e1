// The activations of gated_mlp.h. For .cu files.
#pragma once

#include "kernels/cuda/device_code.h"
#include "kernels/gated_mlp.h"

namespace eyrie::kernels::cuda {

__device__ __forceinline__ float activate(float x, Activation activation) {
  constexpr float kSqrt2OverPi = 0.7978845608028654F;
  constexpr float kSqrtHalf = 0.7071067811865476F;
  switch (activation) {
    case Activation::geluTanh:
      return 0.5F * x * (1.0F + tanhf(kSqrt2OverPi * (x + 0.044715F * x * x * x)));
    case Activation::silu:
      return x / (1.0F + expf(-x));
    case Activation::gelu:
      return 0.5F * x * (1.0F + erff(x * kSqrtHalf));
    case Activation::relu:
      return x > 0.0F ? x : 0.0F;
  }
  return x;
}

}  // namespace eyrie::kernels::cuda
