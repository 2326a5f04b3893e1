// What the steps of recurrent_step.cu and complex_recurrent_step.cu share: a block owns 32 outputs of one
// gate block. It convolves all the gate block's channels (each owner of its neighbours does so too: K
// multiply-adds against B weights) and multiplies them with its 32 columns of both gates. The ring of the
// convolution makes that safe: a slot that is read is not one that is written. For .cu files.
#pragma once

#include <cassert>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda::step {

inline constexpr int kChannels = 32;
inline constexpr int kWarps = 8;
inline constexpr int kThreads = kWarps * kWarp;

__device__ __forceinline__ float convolved(const RecurrentStepArgs& args, std::int64_t n,
                                           std::int64_t position, std::int64_t r) {
  const float* ring = args.convRings[n];
  float sum = args.convBias[r];
#pragma unroll 4
  for (std::int64_t k = 0; k < args.K - 1; ++k) {
    const std::int64_t from = position - (args.K - 1) + k;
    if (from >= 0) sum += args.convWeight[k * args.R + r] * ring[from % args.K * args.R + r];
  }
  return sum + args.convWeight[(args.K - 1) * args.R + r] * args.x[n * args.R + r];
}

// Lanes that cover 32 columns, and rows that all warps load at once.
template <int kCount>
inline constexpr int kTeam = kChannels / kCount;
template <int kCount>
inline constexpr int kRowsAtOnce = kThreads / kTeam<kCount>;

// Both gates' weights, [in][out], from the block's first column on.
template <class Stored>
struct GateWeights {
  const Stored* input;
  const Stored* recurrence;
  std::int64_t B, N;
  std::int64_t columns;  // of this block
};

// A few rows of them, kCount columns of each.
template <class Stored, int kCount>
struct GateRows {
  static constexpr int kAhead = 4;
  Stored input[kAhead][kCount];
  Stored recurrence[kAhead][kCount];

  __device__ __forceinline__ void fetch(const GateWeights<Stored>& from, std::int64_t first) {
    const std::int64_t j = static_cast<std::int64_t>(threadIdx.x) % kTeam<kCount> * kCount;
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const std::int64_t k = first + a * kRowsAtOnce<kCount>;
      if (k >= from.B || j >= from.columns) break;
      load(from.input + k * from.N + j, input[a]);
      load(from.recurrence + k * from.N + j, recurrence[a]);
    }
  }
};

// Column sums of both gates over this warp's rows, in the first lane of each column's kCount. `rows` has the
// first ones already.
template <class Stored, int kCount>
__device__ __forceinline__ void gateSums(const GateWeights<Stored>& weights, GateRows<Stored, kCount>& rows,
                                         const float* c, float (&sums)[2][kCount]) {
  constexpr int kAhead = GateRows<Stored, kCount>::kAhead;
  const std::int64_t start = threadIdx.x / kTeam<kCount>;
  const std::int64_t j = static_cast<std::int64_t>(threadIdx.x) % kTeam<kCount> * kCount;
  const std::int64_t end = j < weights.columns ? weights.B : 0;
  for (std::int64_t first = start; first < end; first += kAhead * kRowsAtOnce<kCount>) {
    if (first != start) rows.fetch(weights, first);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const std::int64_t k = first + a * kRowsAtOnce<kCount>;
      if (k >= end) break;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums[0][i] += c[k] * widened(rows.input[a][i]);
        sums[1][i] += c[k] * widened(rows.recurrence[a][i]);
      }
    }
  }
#pragma unroll
  for (int step = kWarp / 2; step >= kTeam<kCount>; step /= 2) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      sums[0][i] += __shfl_xor_sync(kAllLanes, sums[0][i], step);
      sums[1][i] += __shfl_xor_sync(kAllLanes, sums[1][i], step);
    }
  }
}

// One output of both gates, with its biases.
struct GateColumn {
  std::int64_t sequence;
  std::int64_t position;
  std::int64_t inBlock;  // of the gate block's N outputs
  std::int64_t channel;  // of all gate blocks' outputs
  bool owned;            // by this thread; otherwise the sums are not there
  float inputPre, recurrencePre;
};

// Every thread of the block must come. c (B), in shared memory: afterwards the gate block's convolved
// channels.
template <class Stored, int kCount>
__device__ __forceinline__ GateColumn gateColumn(const RecurrentStepArgs& args, float* c) {
  EYRIE_SHARED(float, partials, [2][kWarps][kChannels]);
  const std::int64_t B = args.R / args.G;
  const std::int64_t N = args.inputGate.cols;
  const std::int64_t tiles = (N + kChannels - 1) / kChannels;
  const std::int64_t group = blockIdx.x / tiles;
  const std::int64_t firstColumn = blockIdx.x % tiles * kChannels;
  const std::int64_t columns = N - firstColumn < kChannels ? N - firstColumn : kChannels;
  const std::int64_t start = group * B * N + firstColumn;
  const GateWeights<Stored> weights{static_cast<const Stored*>(args.inputGate.data) + start,
                                    static_cast<const Stored*>(args.recurrenceGate.data) + start, B, N,
                                    columns};
  letNextBegin();
  GateRows<Stored, kCount> rows;
  rows.fetch(weights, threadIdx.x / kTeam<kCount>);
  waitForPrior();
  GateColumn at{};
  at.sequence = blockIdx.y;
  at.position = args.positions[at.sequence];
  for (std::int64_t k = threadIdx.x; k < B; k += kThreads)
    c[k] = convolved(args, at.sequence, at.position, group * B + k);
  __syncthreads();

  float sums[2][kCount] = {};
  gateSums(weights, rows, c, sums);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (lane < kChannels / kCount) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      partials[0][threadIdx.x / kWarp][lane * kCount + i] = sums[0][i];
      partials[1][threadIdx.x / kWarp][lane * kCount + i] = sums[1][i];
    }
  }
  __syncthreads();

  at.owned = threadIdx.x < columns;
  if (!at.owned) return at;
  at.inBlock = firstColumn + threadIdx.x;
  at.channel = group * N + at.inBlock;
  at.inputPre = args.inputGateBias[at.channel];
  at.recurrencePre = args.recurrenceGateBias[at.channel];
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    at.inputPre += partials[0][w][threadIdx.x];
    at.recurrencePre += partials[1][w][threadIdx.x];
  }
  return at;
}

// body(shape, Stored{}, std::integral_constant<int, kCount>) with what gateColumn fits the weights.
template <class Body>
void withStep(const RecurrentStepArgs& args, Body body) {
  assert(args.inputGate.dtype == args.recurrenceGate.dtype &&
         args.inputGate.cols == args.recurrenceGate.cols);
  const std::int64_t N = args.inputGate.cols;
  const dim3 grid(static_cast<unsigned>(args.G * ((N + kChannels - 1) / kChannels)),
                  static_cast<unsigned>(args.N));
  Shape shape{grid, dim3(kThreads), static_cast<std::size_t>(args.R / args.G) * sizeof(float)};
  shape.early = true;
  const bool aligned = isAligned(args.inputGate.data) && isAligned(args.recurrenceGate.data);
  withStored(args.inputGate.dtype, [&](auto stored) {
    constexpr int kMany = kPerLoad<decltype(stored)>;
    if (aligned && N % kMany == 0) return body(shape, stored, std::integral_constant<int, kMany>{});
    body(shape, stored, std::integral_constant<int, 1>{});
  });
}

}  // namespace eyrie::kernels::cuda::step
