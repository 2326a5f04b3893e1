// Causal depthwise convolution over a chunk: a thread an output; then the ring takes the chunk's last inputs.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

__global__ void conv1d_kernel(ConvRingArgs args) {
  const std::int64_t r = elementIndex();
  if (r >= args.R) return;
  const std::int64_t t = blockIdx.y;
  float sum = args.bias[r];
  for (std::int64_t k = 0; k < args.K; ++k) {
    const std::int64_t from = t - (args.K - 1) + k;  // row of x; negative: in the ring
    const std::int64_t position = args.firstPosition + from;
    if (position < 0) continue;
    const float x = from >= 0 ? args.x[from * args.R + r] : args.ring[position % args.K * args.R + r];
    sum += args.weight[k * args.R + r] * x;
  }
  args.out[t * args.R + r] = sum;
}

__global__ void conv1d_ring_kernel(ConvRingArgs args) {
  const std::int64_t r = elementIndex();
  if (r >= args.R) return;
  const std::int64_t t = args.T - 1 - blockIdx.y;
  args.ring[(args.firstPosition + t) % args.K * args.R + r] = args.x[t * args.R + r];
}

}  // namespace

void conv1d(const ConvRingArgs& args, Stream stream) {
  if (args.T == 0 || args.R == 0) return;
  launch(conv1d_kernel, elementShape(args.R, args.T), stream, args);
  launch(conv1d_ring_kernel, elementShape(args.R, args.T < args.K ? args.T : args.K), stream, args);
}

}  // namespace eyrie::kernels::cuda
