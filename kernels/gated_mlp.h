// out = activation(gate) * up: the GeGLU of the MLP and the output gate of the recurrent block. Trap 14.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

enum class Activation : std::uint8_t { geluTanh, silu, gelu, relu };

struct GatedActivationArgs {
  const float* gate = nullptr;  // (n)
  const float* up = nullptr;    // (n)
  std::int64_t n = 0;
  Activation activation = Activation::geluTanh;
  float* out = nullptr;  // (n); may be gate or up
};

namespace reference {
void gatedActivation(const GatedActivationArgs& args);
}
namespace cpu {
void gatedActivation(const GatedActivationArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
