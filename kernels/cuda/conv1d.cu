// Causal depthwise convolution over chunks: a thread an output; then the rings take the chunks' last inputs.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

__global__ void conv1d_kernel(ConvRingArgs args) {
  const std::int64_t r = elementIndex();
  if (r >= args.R) return;
  const std::int64_t t = blockIdx.y;
  const std::int64_t n = args.sequences.owners[t];
  const std::int64_t begin = args.sequences.begins[n];
  const float* const ring = args.rings[n];
  float sum = args.bias[r];
  for (std::int64_t k = 0; k < args.K; ++k) {
    const std::int64_t back = args.K - 1 - k;
    const std::int64_t position = args.sequences.positions[t] - back;
    if (position < 0) continue;
    const bool inRing = t - back < begin;
    const float x = inRing ? ring[position % args.K * args.R + r] : args.x[(t - back) * args.R + r];
    sum += args.weight[k * args.R + r] * x;
  }
  args.out[t * args.R + r] = sum;
}

// A row of blocks for each of the last K inputs of each sequence.
__global__ void conv1d_ring_kernel(ConvRingArgs args) {
  const std::int64_t r = elementIndex();
  if (r >= args.R) return;
  const std::int64_t n = blockIdx.y / args.K;
  const std::int64_t t = args.sequences.begins[n + 1] - 1 - blockIdx.y % args.K;
  if (t < args.sequences.begins[n]) return;
  args.rings[n][args.sequences.positions[t] % args.K * args.R + r] = args.x[t * args.R + r];
}

}  // namespace

void conv1d(const ConvRingArgs& args, Stream stream) {
  if (args.T == 0 || args.R == 0) return;
  launch(conv1d_kernel, elementShape(args.R, args.T), stream, args);
  launch(conv1d_ring_kernel, elementShape(args.R, args.sequences.N * args.K), stream, args);
}

}  // namespace eyrie::kernels::cuda
