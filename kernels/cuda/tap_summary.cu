// What a summary says of the taps of every recurrent layer of a step: a block a layer and sequence. Quantiles
// are found bit by bit: the largest number below which no more than so many values lie. All five at once, so
// that each pass over the values serves all.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr int kLevels = 5;

__device__ __forceinline__ double levelOf(int i) {
  constexpr double kEach[kLevels] = {0.05, 0.25, 0.5, 0.75, 0.95};
  return kEach[i];
}

// Rises with the value; -0 is 0.
__device__ __forceinline__ unsigned keyOf(float value) {
  const unsigned bits = __float_as_uint(value + 0.0F);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
}

__device__ __forceinline__ float valueOf(unsigned key) {
  return __uint_as_float(key >> 31 != 0 ? key & 0x7fffffffU : ~key);
}

__device__ __forceinline__ double halfLifeOf(float logDecay) {
  return logDecay == 0.0F ? static_cast<double>(INFINITY)
                          : -0.69314718055994531 / static_cast<double>(logDecay);
}

// Sums over the block of one number for each level, in every thread. `partials` may be used again afterwards.
__device__ __forceinline__ void blockCounts(unsigned (&counts)[kLevels], unsigned (*partials)[kLevels]) {
  const unsigned warp = threadIdx.x / kWarp;
#pragma unroll
  for (int i = 0; i < kLevels; ++i) {
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) counts[i] += __shfl_xor_sync(kAllLanes, counts[i], step);
    if (threadIdx.x % kWarp == 0) partials[warp][i] = counts[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kLevels; ++i) {
    counts[i] = 0;
    for (unsigned w = 0; w < kWarps; ++w) counts[i] += partials[w][i];
  }
  __syncthreads();
}

// The keys of rank levelOf(i) (C - 1), rounded down.
__device__ __forceinline__ void selectKeys(const float* values, std::int64_t C, unsigned (*partials)[kLevels],
                                           unsigned (&keys)[kLevels]) {
  unsigned ranks[kLevels];
#pragma unroll
  for (int i = 0; i < kLevels; ++i) {
    ranks[i] = static_cast<unsigned>(levelOf(i) * static_cast<double>(C - 1));
    keys[i] = 0;
  }
  for (int bit = 31; bit >= 0; --bit) {
    unsigned below[kLevels] = {};
    for (std::int64_t c = threadIdx.x; c < C; c += kThreads) {
      const unsigned key = keyOf(values[c]);
#pragma unroll
      for (int i = 0; i < kLevels; ++i) below[i] += key < (keys[i] | 1U << bit) ? 1 : 0;
    }
    blockCounts(below, partials);
#pragma unroll
    for (int i = 0; i < kLevels; ++i)
      if (below[i] <= ranks[i]) keys[i] |= 1U << bit;
  }
}

// The keys one rank further: the same again, or the smallest above.
__device__ __forceinline__ void nextKeys(const float* values, std::int64_t C, unsigned (*partials)[kLevels],
                                         const unsigned (&keys)[kLevels], unsigned (&next)[kLevels]) {
  unsigned upTo[kLevels] = {};
  unsigned above[kLevels];
#pragma unroll
  for (int i = 0; i < kLevels; ++i) above[i] = 0xffffffffU;
  for (std::int64_t c = threadIdx.x; c < C; c += kThreads) {
    const unsigned key = keyOf(values[c]);
#pragma unroll
    for (int i = 0; i < kLevels; ++i) {
      if (key <= keys[i]) {
        ++upTo[i];
      } else if (key < above[i]) {
        above[i] = key;
      }
    }
  }
  blockCounts(upTo, partials);
  const unsigned warp = threadIdx.x / kWarp;
#pragma unroll
  for (int i = 0; i < kLevels; ++i) {
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const unsigned other = __shfl_xor_sync(kAllLanes, above[i], step);
      above[i] = other < above[i] ? other : above[i];
    }
    if (threadIdx.x % kWarp == 0) partials[warp][i] = above[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kLevels; ++i) {
    next[i] = partials[0][i];
    for (unsigned w = 1; w < kWarps; ++w) next[i] = partials[w][i] < next[i] ? partials[w][i] : next[i];
    const auto rank = static_cast<unsigned>(levelOf(i) * static_cast<double>(C - 1));
    if (upTo[i] > rank + 1) next[i] = keys[i];
  }
  __syncthreads();
}

__device__ __forceinline__ float quantile(int level, std::int64_t C, unsigned key, unsigned next) {
  const double place = levelOf(level) * static_cast<double>(C - 1);
  const double share = place - floor(place);
  const double low = halfLifeOf(valueOf(key));
  if (share == 0.0) return static_cast<float>(low);
  const double high = halfLifeOf(valueOf(next));
  return static_cast<float>(high == static_cast<double>(INFINITY) ? high : low + share * (high - low));
}

__global__ void __launch_bounds__(kThreads) tap_summary_kernel(TapSummaryArgs args) {
  EYRIE_SHARED(float, sums, [kWarps]);
  EYRIE_SHARED(unsigned, counts, [kWarps][kLevels]);
  const std::int64_t n = blockIdx.x;
  const std::int64_t layer = blockIdx.y;
  const std::int64_t channel = layer * args.stride + n * args.C;
  const std::int64_t row = layer * args.stride + n * args.R;
  float recurrence = 0, input = 0, notNumbers = 0, state = 0, write = 0, keep = 0;
  for (std::int64_t c = threadIdx.x; c < args.C; c += kThreads) {
    recurrence += args.recurrenceGate[channel + c];
    input += args.inputGate[channel + c];
    const float logDecay = args.logDecay[channel + c];
    notNumbers += logDecay == logDecay ? 0.0F : 1.0F;
  }
  for (std::int64_t r = threadIdx.x; r < args.R; r += kThreads) {
    const float written = args.write[row + r];
    const float kept = args.keep[row + r];
    state += (written + kept) * (written + kept);
    write += written * written;
    keep += kept * kept;
  }
  float* const out = args.out + (layer * args.N + n) * kTapSummary;
  const auto C = static_cast<float>(args.C);
  const float found[] = {sqrtf(blockSum(state, sums)), blockSum(recurrence, sums) / C,
                         blockSum(input, sums) / C, sqrtf(blockSum(write, sums)),
                         sqrtf(blockSum(keep, sums))};
  const bool broken = blockSum(notNumbers, sums) > 0.0F;
  unsigned keys[kLevels];
  unsigned next[kLevels];
  selectKeys(args.logDecay + channel, args.C, counts, keys);
  nextKeys(args.logDecay + channel, args.C, counts, keys, next);
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i < kLevels; ++i) {
    out[i] = found[i];
    out[kLevels + i] = broken ? NAN : quantile(i, args.C, keys[i], next[i]);
  }
}

}  // namespace

void tapSummary(const TapSummaryArgs& args, Stream stream) {
  if (args.N == 0 || args.layers == 0) return;
  const dim3 grid(static_cast<unsigned>(args.N), static_cast<unsigned>(args.layers));
  launch(tap_summary_kernel, {grid, dim3(kThreads)}, stream, args);
}

}  // namespace eyrie::kernels::cuda
