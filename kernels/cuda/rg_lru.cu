// The RG-LRU over chunks of tokens: gates, decay and recurrence in one pass over their arrays. A block takes
// a few channels of a sequence through time, tile after tile: each thread has eight steps of one channel in
// registers, which it first sums up as a factor and a state from nothing; then it knows from those before it
// which state its own begin with, and walks through them.
#include <cassert>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/gates.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kSteps = 8;  // of a thread
constexpr std::int64_t kWideBlocks = 256;

struct Scan {
  RgLruBatchArgs batch;
  RgLruOverrides overrides;
};

// One sequence's rows and state.
struct Sequence {
  std::int64_t first;
  std::int64_t T;
  float* state;
  bool starts;
};

__device__ __forceinline__ Sequence sequenceOf(const RgLruBatchArgs& batch, std::int64_t n) {
  const RgLruArgs& rows = batch.rows;
  if (batch.states == nullptr) return {0, rows.T, rows.state, rows.startsSequence};
  const SequenceRows& all = batch.sequences;
  const std::int64_t first = all.begins[n];
  const std::int64_t T = all.begins[n + 1] - first;
  return {first, T, batch.states[n], T > 0 && all.positions[first] == 0};
}

// Steps of one channel; `count` of them are there.
struct Steps {
  std::int64_t index;  // of the first in the arrays; R apart
  int count;
  float decay[kSteps];  // 0 at position 0
  float write[kSteps];
};

template <bool kOverridden>
__device__ __forceinline__ void readSteps(const Scan& scan, std::int64_t r, bool starts, Steps& steps) {
  const RgLruArgs& args = scan.batch.rows;
  float x[kSteps];
  float recurrencePre[kSteps];
  float inputPre[kSteps];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    if (i >= steps.count) break;
    const std::int64_t at = steps.index + i * args.R;
    x[i] = args.x[at];
    recurrencePre[i] = args.recurrencePre[at];
    inputPre[i] = args.inputPre[at];
  }
  const float rate = steps.count > 0 ? args.decayRate[r] : 0.0F;
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    if (i >= steps.count) break;
    const bool reset = starts && i == 0;
    Gates gates{};
    if constexpr (kOverridden) {
      gates = overriddenGatesOf(recurrencePre[i], inputPre[i], rate, reset, scan.overrides, r);
    } else {
      gates = gatesOf(recurrencePre[i], inputPre[i], rate, reset);
    }
    steps.decay[i] = reset ? 0.0F : gates.decay;
    steps.write[i] = gates.multiplier * (gates.input * x[i]);
    observeGates(args.taps, steps.index + i * args.R, gates, steps.write[i]);
  }
}

template <bool kOverridden>
__device__ __forceinline__ float stateAfter(const Scan& scan, std::int64_t r, float keep, float write) {
  if constexpr (kOverridden) return mapped(scan.overrides.state, r, keep + write);
  return keep + write;
}

// What steps do to the state before them: state = factor * state + sum.
struct Summary {
  float factor;
  float sum;
};

template <bool kOverridden>
__device__ __forceinline__ Summary summaryOf(const Scan& scan, std::int64_t r, const Steps& steps) {
  Summary all{1.0F, 0.0F};
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    if (i >= steps.count) break;
    all.sum = stateAfter<kOverridden>(scan, r, steps.decay[i] * all.sum, steps.write[i]);
    all.factor *= steps.decay[i];
    if constexpr (kOverridden) all.factor *= scan.overrides.state.scale[r];
  }
  return all;
}

__device__ __forceinline__ void storeGated(const RgLruBatchArgs& batch, std::int64_t at, float value) {
  if (batch.operandType == DType::f32) {
    static_cast<float*>(batch.operand)[at] = value;
  } else if (batch.operandType == DType::f16) {
    rounded(value, static_cast<__half*>(batch.operand)[at]);
  } else {
    rounded(value, static_cast<__nv_bfloat16*>(batch.operand)[at]);
  }
}

template <bool kOverridden>
__device__ __forceinline__ void walk(const Scan& scan, std::int64_t r, const Steps& steps, float state) {
  const RgLruArgs& args = scan.batch.rows;
  float y[kSteps];
#pragma unroll
  for (int i = 0; i < kSteps; ++i)
    if (i < steps.count && scan.batch.y != nullptr) y[i] = scan.batch.y[steps.index + i * args.R];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    if (i >= steps.count) break;
    const std::int64_t at = steps.index + i * args.R;
    const float keep = steps.decay[i] * state;
    state = stateAfter<kOverridden>(scan, r, keep, steps.write[i]);
    if (args.taps.keep != nullptr) args.taps.keep[at] = keep;
    if (args.out != nullptr) args.out[at] = state;
    if (scan.batch.y != nullptr) storeGated(scan.batch, at, activate(y[i], scan.batch.activation) * state);
  }
}

template <bool kOverridden, int kChannels>
__global__ void __launch_bounds__(kThreads, 2) rg_lru_kernel(Scan scan) {
  constexpr int kTurns = kThreads / kChannels;  // of kSteps steps in a tile
  EYRIE_SHARED(float, factors, [2][kTurns][kChannels]);
  EYRIE_SHARED(float, sums, [2][kTurns][kChannels]);
  const int channel = static_cast<int>(threadIdx.x) % kChannels;
  const int turn = static_cast<int>(threadIdx.x) / kChannels;
  const std::int64_t R = scan.batch.rows.R;
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kChannels + channel;
  const Sequence sequence = sequenceOf(scan.batch, blockIdx.y);
  float state = r < R && !sequence.starts ? sequence.state[r] : 0.0F;
  for (std::int64_t tile = 0; tile * kTurns * kSteps < sequence.T; ++tile) {
    const std::int64_t begin = (tile * kTurns + turn) * kSteps;
    const std::int64_t left = r < R ? sequence.T - begin : 0;
    Steps steps;
    steps.index = (sequence.first + begin) * R + r;
    steps.count = left < kSteps ? static_cast<int>(left) : kSteps;
    readSteps<kOverridden>(scan, r, sequence.starts && begin == 0, steps);
    const Summary own = summaryOf<kOverridden>(scan, r, steps);
    factors[tile % 2][turn][channel] = own.factor;
    sums[tile % 2][turn][channel] = own.sum;
    __syncthreads();  // once a tile: the next one uses the other half
    float before = 0;
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      if (i == turn) before = state;
      state = factors[tile % 2][i][channel] * state + sums[tile % 2][i][channel];
    }
    walk<kOverridden>(scan, r, steps, before);
  }
  if (r < R && turn == 0 && sequence.T > 0) sequence.state[r] = state;
}

// Blocks of few channels where many would leave most of a large card idle.
template <bool kOverridden>
void launchScan(const Scan& scan, std::int64_t N, Stream stream) {
  const auto blocks = [&](int channels) {
    return dim3(static_cast<unsigned>((scan.batch.rows.R + channels - 1) / channels),
                static_cast<unsigned>(N));
  };
  if (blocks(32).x * N >= kWideBlocks)
    return launch(rg_lru_kernel<kOverridden, 32>, {blocks(32), dim3(kThreads)}, stream, scan);
  launch(rg_lru_kernel<kOverridden, 8>, {blocks(8), dim3(kThreads)}, stream, scan);
}

}  // namespace

void rgLru(const RgLruBatchArgs& args, Stream stream) {
  const std::int64_t N = args.states == nullptr ? 1 : args.sequences.N;
  if (args.rows.T == 0 || args.rows.R == 0 || N == 0) return;
  assert(args.rows.out != nullptr || args.y != nullptr);
  if (args.rows.overrides == nullptr) return launchScan<false>({args, {}}, N, stream);
  launchScan<true>({args, *args.rows.overrides}, N, stream);
}

void rgLru(const RgLruArgs& args, Stream stream) {
  RgLruBatchArgs batch;
  batch.rows = args;
  rgLru(batch, stream);
}

}  // namespace eyrie::kernels::cuda
