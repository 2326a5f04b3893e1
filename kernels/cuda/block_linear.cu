// Block-diagonal product for chunks of tokens: 16 tokens by 64 outputs of one block, x in shared memory,
// weights read once for 16 tokens.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kOutputs = 64;
constexpr int kTeams = 4;         // of kOutputs threads
constexpr int kTokensOfTeam = 4;  // in registers of each thread
constexpr int kTokens = kTeams * kTokensOfTeam;
constexpr int kInputs = 32;  // staged at a time

struct Sizes {
  std::int64_t T, G, B, N;
};

template <class Stored>
__global__ void __launch_bounds__(kOutputs* kTeams)
    block_linear_kernel(const float* x, const Stored* weight, const float* bias, Sizes size, float* out) {
  EYRIE_SHARED(float, staged, [kTokens][kInputs]);
  const std::int64_t firstToken = static_cast<std::int64_t>(blockIdx.x) * kTokens;
  const std::int64_t group = blockIdx.y;
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.z) * kOutputs + threadIdx.x;
  const Stored* columns = weight + group * size.B * size.N + j;
  const unsigned thread = threadIdx.y * kOutputs + threadIdx.x;
  float sums[kTokensOfTeam] = {};
  for (std::int64_t first = 0; first < size.B; first += kInputs) {
    for (unsigned at = thread; at < kTokens * kInputs; at += kOutputs * kTeams) {
      const std::int64_t t = firstToken + at / kInputs;
      const std::int64_t k = first + at % kInputs;
      staged[at / kInputs][at % kInputs] =
          t < size.T && k < size.B ? x[(t * size.G + group) * size.B + k] : 0.0F;
    }
    __syncthreads();
    const std::int64_t count = size.B - first < kInputs ? size.B - first : kInputs;
    if (j < size.N) {
      for (std::int64_t k = 0; k < count; ++k) {
        const float w = widened(columns[(first + k) * size.N]);
#pragma unroll
        for (int t = 0; t < kTokensOfTeam; ++t) sums[t] += staged[threadIdx.y * kTokensOfTeam + t][k] * w;
      }
    }
    __syncthreads();
  }
  if (j >= size.N) return;
  const float offset = bias == nullptr ? 0.0F : bias[group * size.N + j];
#pragma unroll
  for (int t = 0; t < kTokensOfTeam; ++t) {
    const std::int64_t token = firstToken + threadIdx.y * kTokensOfTeam + t;
    if (token < size.T) out[(token * size.G + group) * size.N + j] = sums[t] + offset;
  }
}

}  // namespace

void blockLinear(const BlockLinearArgs& args, Stream stream) {
  const Sizes size{args.T, args.G, args.B, args.weight.cols};
  if (size.T == 0 || size.G == 0 || size.N == 0) return;
  const dim3 grid(static_cast<unsigned>((size.T + kTokens - 1) / kTokens), static_cast<unsigned>(size.G),
                  static_cast<unsigned>((size.N + kOutputs - 1) / kOutputs));
  withStored(args.weight.dtype, [&](auto stored) {
    using Stored = decltype(stored);
    launch(block_linear_kernel<Stored>, {grid, dim3(kOutputs, kTeams)}, stream, args.x,
           static_cast<const Stored*>(args.weight.data), args.bias, size, args.out);
  });
}

}  // namespace eyrie::kernels::cuda
