// RMSNorm: a block a row, read twice (the second time from the cache).
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(const float* x, const float* weight, float eps, std::int64_t D, float* out) {
  EYRIE_SHARED(float, partials, [kThreads / kWarp]);
  const float* row = x + blockIdx.x * D;
  float squares = 0;
  for (std::int64_t d = threadIdx.x; d < D; d += kThreads) squares += row[d] * row[d];
  squares = blockSum(squares, partials);
  const float scale = 1.0F / sqrtf(squares / static_cast<float>(D) + eps);
  // Each thread writes what it alone reads, so `out` may be `x`.
  for (std::int64_t d = threadIdx.x; d < D; d += kThreads)
    out[blockIdx.x * D + d] = row[d] * scale * (1.0F + weight[d]);
}

}  // namespace

void rmsNorm(const RmsNormArgs& args, Stream stream) {
  if (args.T == 0 || args.D == 0) return;
  launch(rms_norm_kernel, {dim3(static_cast<unsigned>(args.T)), dim3(kThreads)}, stream, args.x, args.weight,
         args.eps, args.D, args.out);
}

}  // namespace eyrie::kernels::cuda
