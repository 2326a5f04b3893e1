// One token through convolution, gates, RG-LRU and output gate. A block owns 32 channels of one gate block:
// it convolves all the block's channels (each owner of its neighbours does so too: K multiply-adds against B
// weights), multiplies them with its 32 columns of both gates, and finishes its own channels. The ring of the
// convolution makes that safe: a slot that is read is not one that is written.
#include <cassert>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/gates.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kChannels = 32;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

__device__ __forceinline__ float convolved(const RecurrentStepArgs& args, std::int64_t n,
                                           std::int64_t position, std::int64_t r) {
  const float* ring = args.convRings[n];
  float sum = args.convBias[r];
  for (std::int64_t k = 0; k < args.K - 1; ++k) {
    const std::int64_t from = position - (args.K - 1) + k;
    if (from >= 0) sum += args.convWeight[k * args.R + r] * ring[from % args.K * args.R + r];
  }
  return sum + args.convWeight[(args.K - 1) * args.R + r] * args.x[n * args.R + r];
}

// Column sums of both gates over this warp's rows, in the first lane of each column's kCount.
template <class Stored, int kCount>
__device__ __forceinline__ void gateSums(const Stored* input, const Stored* recurrence, const float* c,
                                         std::int64_t B, std::int64_t columns, float (&sums)[2][kCount]) {
  constexpr int kTeam = kChannels / kCount;  // lanes that cover a row
  constexpr int kRows = kThreads / kTeam;    // of all warps at once
  const std::int64_t j = static_cast<std::int64_t>(threadIdx.x) % kTeam * kCount;
  if (j < columns) {
#pragma unroll 4
    for (std::int64_t k = threadIdx.x / kTeam; k < B; k += kRows) {
      Stored in[kCount];
      Stored rec[kCount];
      load(input + k * B + j, in);
      load(recurrence + k * B + j, rec);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums[0][i] += c[k] * widened(in[i]);
        sums[1][i] += c[k] * widened(rec[i]);
      }
    }
  }
#pragma unroll
  for (int step = kWarp / 2; step >= kTeam; step /= 2) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      sums[0][i] += __shfl_xor_sync(kAllLanes, sums[0][i], step);
      sums[1][i] += __shfl_xor_sync(kAllLanes, sums[1][i], step);
    }
  }
}

template <class Stored, int kCount>
__global__ void __launch_bounds__(kThreads) recurrent_step_kernel(RecurrentStepArgs args) {
  EYRIE_DYNAMIC_SHARED(float, c);  // (B): the gate block's convolved channels
  EYRIE_SHARED(float, partials, [2][kWarps][kChannels]);
  const std::int64_t B = args.R / args.G;
  const std::int64_t tiles = (B + kChannels - 1) / kChannels;
  const std::int64_t group = blockIdx.x / tiles;
  const std::int64_t firstColumn = blockIdx.x % tiles * kChannels;
  const std::int64_t n = blockIdx.y;
  const std::int64_t position = args.positions[n];

  for (std::int64_t k = threadIdx.x; k < B; k += kThreads) c[k] = convolved(args, n, position, group * B + k);
  __syncthreads();

  const std::int64_t columns = B - firstColumn < kChannels ? B - firstColumn : kChannels;
  const std::int64_t start = group * B * B + firstColumn;
  float sums[2][kCount] = {};
  gateSums<Stored, kCount>(static_cast<const Stored*>(args.inputGate.data) + start,
                           static_cast<const Stored*>(args.recurrenceGate.data) + start, c, B, columns, sums);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (lane < kChannels / kCount) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      partials[0][threadIdx.x / kWarp][lane * kCount + i] = sums[0][i];
      partials[1][threadIdx.x / kWarp][lane * kCount + i] = sums[1][i];
    }
  }
  __syncthreads();

  if (threadIdx.x >= columns) return;
  const std::int64_t column = firstColumn + threadIdx.x;
  const std::int64_t r = group * B + column;
  float inputPre = args.inputGateBias[r];
  float recurrencePre = args.recurrenceGateBias[r];
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    inputPre += partials[0][w][threadIdx.x];
    recurrencePre += partials[1][w][threadIdx.x];
  }
  const bool reset = position == 0;
  const Gates gates = gatesOf(recurrencePre, inputPre, args.decayRate[r], reset);
  const float write = gates.multiplier * (gates.input * c[column]);
  const float keep = reset ? 0.0F : gates.decay * args.states[n][r];
  const std::int64_t at = n * args.R + r;
  observe(args.taps, at, gates, write, keep);
  args.states[n][r] = keep + write;
  args.convRings[n][position % args.K * args.R + r] = args.x[at];
  args.out[at] = activate(args.y[at], args.activation) * (keep + write);
}

}  // namespace

void recurrentStep(const RecurrentStepArgs& args, Stream stream) {
  if (args.N == 0) return;
  assert(args.inputGate.dtype == args.recurrenceGate.dtype);
  const std::int64_t B = args.R / args.G;
  const std::int64_t tiles = (B + kChannels - 1) / kChannels;
  const dim3 grid(static_cast<unsigned>(args.G * tiles), static_cast<unsigned>(args.N));
  const Shape shape{grid, dim3(kThreads), static_cast<std::size_t>(B) * sizeof(float)};
  withStored(args.inputGate.dtype, [&](auto stored) {
    using Stored = decltype(stored);
    const bool aligned =
        B % kPerLoad<Stored> == 0 && isAligned(args.inputGate.data) && isAligned(args.recurrenceGate.data);
    if (aligned) {
      launch(recurrent_step_kernel<Stored, kPerLoad<Stored>>, shape, stream, args);
    } else {
      launch(recurrent_step_kernel<Stored, 1>, shape, stream, args);
    }
  });
}

}  // namespace eyrie::kernels::cuda
