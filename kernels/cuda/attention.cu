// Chunks of queries over the ring and the chunk's own keys: a block takes 16 queries of one head through the
// keys they see, 16 at a time, with a running softmax. Thread (query, lane) scores key `lane` of the tile,
// then owns every 16th dimension of the query's output.
#include <cassert>

#include "kernels/cuda/attention_weights.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kTile = 16;  // queries, keys, and lanes of a query
constexpr int kThreads = kTile * kTile;

// Over the 16 lanes of one query.
__device__ __forceinline__ float teamMax(float value) {
#pragma unroll
  for (int step = kTile / 2; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step, kTile));
  return value;
}

__device__ __forceinline__ float teamSum(float value) {
#pragma unroll
  for (int step = kTile / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step, kTile);
  return value;
}

// Keys (or values) of positions first.. into rows of Dh + 1 floats; zeros beyond `last`.
__device__ __forceinline__ void stageKeys(const AttentionArgs& args, const float* chunk, const float* ring,
                                          std::int64_t kvHead, std::int64_t first, std::int64_t last,
                                          float* to) {
  for (std::int64_t at = threadIdx.x; at < kTile * args.Dh; at += kThreads) {
    const std::int64_t key = at / args.Dh;
    const std::int64_t d = at % args.Dh;
    const std::int64_t s = first + key;
    float value = 0;
    if (s >= args.firstPosition && s <= last) {
      value = chunk[((s - args.firstPosition) * args.kvHeads + kvHead) * args.Dh + d];
    } else if (s <= last) {
      value = ring[(s % args.ring.capacity * args.kvHeads + kvHead) * args.Dh + d];
    }
    to[key * (args.Dh + 1) + d] = value;
  }
}

// kPerLane: dimensions of the output a thread owns.
template <int kPerLane>
__global__ void __launch_bounds__(kThreads)
    attention_kernel(AttentionArgs args, float scale, float* statistics) {
  EYRIE_DYNAMIC_SHARED(float, shared);
  EYRIE_SHARED(float, weights, [kTile][kTile + 1]);
  const std::int64_t stride = args.Dh + 1;
  float* const queries = shared;
  float* const keys = queries + kTile * stride;
  float* const values = keys + kTile * stride;
  const std::int64_t firstQuery = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t head = blockIdx.y;
  const std::int64_t kvHead = head / (args.H / args.kvHeads);
  const int query = static_cast<int>(threadIdx.x) / kTile;
  const int lane = static_cast<int>(threadIdx.x) % kTile;
  const std::int64_t t = firstQuery + query;
  const std::int64_t position = args.firstPosition + t;
  const std::int64_t lastQuery = firstQuery + kTile < args.T ? firstQuery + kTile - 1 : args.T - 1;
  const std::int64_t last = args.firstPosition + lastQuery;
  const std::int64_t firstSeen = args.firstPosition + firstQuery - args.older;

  for (std::int64_t at = threadIdx.x; at < kTile * args.Dh; at += kThreads) {
    const std::int64_t row = firstQuery + at / args.Dh;
    queries[at / args.Dh * stride + at % args.Dh] =
        row < args.T ? args.q[(row * args.H + head) * args.Dh + at % args.Dh] : 0.0F;
  }
  float largest = -INFINITY;
  float sum = 0;
  float out[kPerLane] = {};
  for (std::int64_t first = firstSeen > 0 ? firstSeen : 0; first <= last; first += kTile) {
    stageKeys(args, args.k, args.ring.keys, kvHead, first, last, keys);
    stageKeys(args, args.v, args.ring.values, kvHead, first, last, values);
    __syncthreads();
    float score = 0;
    for (std::int64_t d = 0; d < args.Dh; ++d) score += queries[query * stride + d] * keys[lane * stride + d];
    score *= scale;
    const std::int64_t s = first + lane;
    const bool seen = t < args.T && s <= position && s >= position - args.older;
    if (seen && args.weights != nullptr && position - s < args.span)
      args.weights[(t * args.H + head) * args.span + args.span - 1 - (position - s)] = score;
    const float before = largest;
    largest = fmaxf(before, teamMax(seen ? score : -INFINITY));
    const float fade = sum > 0.0F ? expf(before - largest) : 0.0F;  // nothing seen so far: nothing to fade
    const float weight = seen ? expf(score - largest) : 0.0F;
    sum = sum * fade + teamSum(weight);
    weights[query][lane] = weight;
    __syncwarp();  // a query's lanes are of one warp
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const std::int64_t d = lane + i * kTile;
      if (d >= args.Dh) break;
      float added = 0;
      for (int key = 0; key < kTile; ++key) added += weights[query][key] * values[key * stride + d];
      out[i] = out[i] * fade + added;
    }
    __syncthreads();
  }
  if (t >= args.T) return;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const std::int64_t d = lane + i * kTile;
    if (d < args.Dh) args.out[(t * args.H + head) * args.Dh + d] = out[i] / sum;
  }
  if (args.weights == nullptr || lane != 0) return;
  statistics[2 * (t * args.H + head)] = largest;
  statistics[2 * (t * args.H + head) + 1] = sum;
}

// Scores become weights.
__global__ void __launch_bounds__(kThreads)
    attention_weights_kernel(AttentionArgs args, const float* statistics) {
  const std::int64_t t = blockIdx.x;
  const std::int64_t row = t * args.H + blockIdx.y;
  const std::int64_t position = args.firstPosition + t;
  const std::int64_t oldest = args.older < position ? args.older : position;  // tokens back
  for (std::int64_t column = threadIdx.x; column < args.span; column += kThreads) {
    float* weight = args.weights + row * args.span + column;
    const bool seen = args.span - 1 - column <= oldest;
    *weight = seen ? expf(*weight - statistics[2 * row]) / statistics[2 * row + 1] : 0.0F;
  }
}

}  // namespace

void attention(const AttentionArgs& args, float* statistics, Stream stream) {
  assert(args.Dh <= kMaxHeadSize && (args.weights == nullptr || statistics != nullptr));
  if (args.T == 0) return;
  const auto heads = static_cast<unsigned>(args.H);
  const Shape shape{dim3(static_cast<unsigned>((args.T + kTile - 1) / kTile), heads), dim3(kThreads),
                    static_cast<std::size_t>(3 * kTile * (args.Dh + 1)) * sizeof(float)};
  const float scale = 1.0F / std::sqrt(static_cast<float>(args.Dh));
  if (args.Dh <= 64) {
    launch(attention_kernel<4>, shape, stream, args, scale, statistics);
  } else {
    launch(attention_kernel<16>, shape, stream, args, scale, statistics);
  }
  if (args.weights != nullptr) attentionWeights(args, statistics, stream);
}

void attentionWeights(const AttentionArgs& args, const float* statistics, Stream stream) {
  const dim3 grid(static_cast<unsigned>(args.T), static_cast<unsigned>(args.H));
  launch(attention_weights_kernel, {grid, dim3(kThreads)}, stream, args, statistics);
}

}  // namespace eyrie::kernels::cuda
