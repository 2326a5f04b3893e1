#include "kernels/cuda/activation.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

__global__ void gated_activation_kernel(const float* gate, const float* up, std::int64_t n,
                                        Activation activation, float* out) {
  const std::int64_t i = elementIndex();
  if (i < n) out[i] = activate(gate[i], activation) * up[i];
}

}  // namespace

void gatedActivation(const GatedActivationArgs& args, Stream stream) {
  if (args.n == 0) return;
  launch(gated_activation_kernel, elementShape(args.n), stream, args.gate, args.up, args.n, args.activation,
         args.out);
}

}  // namespace eyrie::kernels::cuda
