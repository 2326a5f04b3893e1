// Chunks of queries over a window on tensor cores. Keys and values that the chunk sees become bf16 first, in
// order of position and padded to whole tiles, so that the rest copies them without a look at ring or edges.
// Then a block takes 64 queries of one head through 32 keys at a time, each of its warps 16 queries: scores,
// a softmax on the way and the output stay in the warp's registers. The next keys arrive during the softmax
// and the products with values, the values during the scores.
#include <algorithm>
#include <cassert>
#include <climits>
#include <cmath>

#include "kernels/cuda/attention_weights.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/tiles.h"

namespace eyrie::kernels::cuda {
namespace {

using Bf16 = __nv_bfloat16;
using Product16 = Tiles<Bf16, true>;

constexpr int kQueries = 64;
constexpr int kKeys = 32;
constexpr int kWarps = kQueries / kTile;
constexpr int kThreads = kWarps * kWarp;
constexpr int kKeyTiles = kKeys / kTile;
constexpr int kRoundThreads = 256;
constexpr float kLog2e = 1.4426950408889634F;

// Rows are a few elements longer than what they hold, so that those of a tile lie in different banks.
template <int kHead>
struct alignas(128) Shared {
  Bf16 queries[kQueries][kHead + 8];
  Bf16 keys[kKeys][kHead + 8];
  Bf16 values[kKeys][kHead + 8];
};

// What a chunk sees as bf16, padded with zeros: rows (positions, kvHeads, kHead) from position `base` on.
struct Seen {
  const Bf16* keys;
  const Bf16* values;
  std::int64_t base;
};

struct Problem {
  AttentionArgs args;
  Bf16* operand;
  float* statistics;
  Seen seen;
  int older;  // as args.older, or what no two positions are apart
  float scale;
};

__global__ void __launch_bounds__(kRoundThreads)
    round_seen_kernel(AttentionArgs args, std::int64_t base, int head, Bf16* keys, Bf16* values) {
  const std::int64_t position = base + blockIdx.x;
  const bool there = position < args.firstPosition + args.T;
  const bool inChunk = position >= args.firstPosition;
  const std::int64_t row = !there    ? 0
                           : inChunk ? position - args.firstPosition
                                     : position % args.ring.capacity;
  const float* const fromKeys = inChunk ? args.k : args.ring.keys;
  const float* const fromValues = inChunk ? args.v : args.ring.values;
  for (std::int64_t at = threadIdx.x; at < args.kvHeads * head; at += kRoundThreads) {
    const std::int64_t d = at % head;
    const bool real = there && d < args.Dh;
    const std::int64_t from = (row * args.kvHeads + at / head) * args.Dh + d;
    const std::int64_t to = blockIdx.x * args.kvHeads * head + at;
    keys[to] = __float2bfloat16(real ? fromKeys[from] : 0.0F);
    values[to] = __float2bfloat16(real ? fromValues[from] : 0.0F);
  }
}

// A block's queries: `head`'s from `first` on.
struct Place {
  std::int64_t first;
  std::int64_t head;
  std::int64_t kvHead;
};

// Row `first` and the next of the block's KV head.
template <int kHead>
__device__ __forceinline__ void copyRows(const Bf16* rows, std::int64_t first, std::int64_t kvHeads,
                                         std::int64_t kvHead, Bf16 (&to)[kKeys][kHead + 8]) {
  constexpr int kChunks = kHead / 8;
#pragma unroll
  for (int at = static_cast<int>(threadIdx.x); at < kKeys * kChunks; at += kThreads) {
    const int key = at / kChunks;
    const int d = at % kChunks * 8;
    copyAsync16(&to[key][d], rows + ((first + key) * kvHeads + kvHead) * kHead + d);
  }
}

template <int kHead>
__device__ __forceinline__ void roundQueries(const AttentionArgs& args, const Place& place,
                                             Shared<kHead>& shared) {
  for (int at = static_cast<int>(threadIdx.x); at < kQueries * kHead; at += kThreads) {
    const std::int64_t t = place.first + at / kHead;
    const std::int64_t d = at % kHead;
    const bool real = t < args.T && d < args.Dh;
    shared.queries[at / kHead][d] =
        __float2bfloat16(real ? args.q[(t * args.H + place.head) * args.Dh + d] : 0.0F);
  }
}

using Scores = Product16::Sum[kKeyTiles];

template <int kHead>
__device__ __forceinline__ void scoreKeys(const Shared<kHead>& shared, Scores& scores) {
  const int query = static_cast<int>(threadIdx.x / kWarp) * kTile;
#pragma unroll 4
  for (int d = 0; d < kHead; d += kTile) {
    Product16::Left queries;
    Product16::load(queries, &shared.queries[query][d], kHead + 8);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
      Product16::Right<false> keys;
      Product16::load(keys, &shared.keys[n * kTile][d], kHead + 8);
      Product16::multiply(scores[n], queries, keys);
    }
  }
}

// Of the two queries of which a lane has elements: element i is of the `half(i)`-th.
struct Running {
  float largest[2] = {-INFINITY, -INFINITY};  // the same in the four lanes that share the query
  float sum[2] = {};                          // of the lane's own weights
};
__device__ __forceinline__ int half(int i) {
  return i % 4 / 2;
}
__device__ __forceinline__ std::int64_t queryOf(const Place& place, int half) {
  return place.first + threadIdx.x / kWarp * kTile + Product16::row(2 * half);
}

__device__ __forceinline__ float exponential(float x) {
  return exp2f(x * kLog2e);
}

// Scales scores of keys from `position` on and hides those that are not seen; `largest` takes part.
__device__ __forceinline__ void maskScores(const Problem& problem, const Place& place, std::int64_t position,
                                           Scores& scores, float (&largest)[2]) {
  const AttentionArgs& args = problem.args;
  int back[2];  // from the query to the first key; queries that are not there see nothing
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const std::int64_t t = queryOf(place, h);
    back[h] = t < args.T ? static_cast<int>(args.firstPosition + t - position) : -1;
  }
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
    for (int i = 0; i < kElementsOfLane; ++i) {
      const int distance = back[half(i)] - n * kTile - Product16::column(i);
      const bool seen = distance >= 0 && distance <= problem.older;
      float& score = scores[n].x[i];
      score = seen ? score * problem.scale : -INFINITY;
      largest[half(i)] = fmaxf(largest[half(i)], score);
      if (args.weights == nullptr || !seen || distance >= args.span) continue;
      const std::int64_t row = queryOf(place, half(i)) * args.H + place.head;
      args.weights[row * args.span + args.span - 1 - distance] = score;
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(kAllLanes, largest[h], 1));
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(kAllLanes, largest[h], 2));
  }
}

// Scores become weights relative to the largest score so far, as bf16; `fade`: what earlier ones lose by
// that.
__device__ __forceinline__ void weighScores(const Scores& scores, const float (&largest)[2], Running& running,
                                            Product16::Left (&weights)[kKeyTiles], float (&fade)[2]) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const bool first = running.largest[h] == -INFINITY;  // nothing seen so far: nothing to fade
    fade[h] = first ? 1.0F : exponential(running.largest[h] - largest[h]);
    running.sum[h] *= fade[h];
    running.largest[h] = largest[h];
  }
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
    for (int i = 0; i < kElementsOfLane; i += 2) {  // two neighbours are a register of a Left
      const int h = half(i);
      Bf16 two[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float score = scores[n].x[i + j];
        two[j] = __float2bfloat16(score != -INFINITY ? exponential(score - largest[h]) : 0.0F);
        running.sum[h] += __bfloat162float(two[j]);  // as the product reads it: weights add up to 1
      }
      memcpy(&weights[n].bits[i / 2], two, sizeof two);
    }
  }
}

template <int kHead>
using Outputs = Product16::Sum[kHead / kTile];

// out = out * fade + weights values.
template <int kHead>
__device__ __forceinline__ void addValues(const Shared<kHead>& shared,
                                          const Product16::Left (&weights)[kKeyTiles], const float (&fade)[2],
                                          Outputs<kHead>& out) {
  if (__any_sync(kAllLanes, fade[0] != 1.0F || fade[1] != 1.0F) != 0) {
#pragma unroll
    for (auto& tile : out)
#pragma unroll
      for (int i = 0; i < kElementsOfLane; ++i) tile.x[i] *= fade[half(i)];
  }
#pragma unroll
  for (int k = 0; k < kKeyTiles; ++k) {
#pragma unroll
    for (int n = 0; n < kHead / kTile; ++n) {
      Product16::Right<true> values;
      Product16::load(values, &shared.values[k * kTile][n * kTile], kHead + 8);
      Product16::multiply(out[n], weights[k], values);
    }
  }
}

template <int kHead>
__device__ __forceinline__ void writeOutputs(const Problem& problem, const Place& place,
                                             const Running& running, const Outputs<kHead>& out) {
  const AttentionArgs& args = problem.args;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const std::int64_t t = queryOf(place, h);
    if (t >= args.T) continue;
    const std::int64_t row = t * args.H + place.head;
    const float inverse = 1.0F / running.sum[h];
#pragma unroll
    for (int n = 0; n < kHead / kTile; ++n) {
#pragma unroll
      for (int i = 0; i < kElementsOfLane; ++i) {
        const int d = n * kTile + Product16::column(i);
        if (half(i) != h || d >= args.Dh) continue;
        const float value = out[n].x[i] * inverse;
        if (args.out != nullptr) args.out[row * args.Dh + d] = value;
        if (problem.operand != nullptr) problem.operand[row * args.Dh + d] = __float2bfloat16(value);
      }
    }
    if (args.weights == nullptr || threadIdx.x % 4 != 0) continue;
    problem.statistics[2 * row] = running.largest[h];
    problem.statistics[2 * row + 1] = running.sum[h];
  }
}

template <int kHead>
__global__ void __launch_bounds__(kThreads, 2) tensor_attention_kernel(Problem problem) {
  EYRIE_DYNAMIC_SHARED(Shared<kHead>, memory);
  Shared<kHead>& shared = *memory;
  const AttentionArgs& args = problem.args;
  const Place place{static_cast<std::int64_t>(blockIdx.x) * kQueries, blockIdx.y,
                    blockIdx.y / (args.H / args.kvHeads)};
  const std::int64_t lastQuery = place.first + kQueries < args.T ? place.first + kQueries - 1 : args.T - 1;
  // Rows of what is seen.
  const std::int64_t oldest = args.firstPosition + place.first - args.older - problem.seen.base;
  const std::int64_t begin = oldest > 0 ? oldest / kKeys * kKeys : 0;
  const std::int64_t end = args.firstPosition + lastQuery - problem.seen.base + 1;

  copyRows<kHead>(problem.seen.keys, begin, args.kvHeads, place.kvHead, shared.keys);
  commitCopies();
  roundQueries(args, place, shared);
  Outputs<kHead> out;
  Running running;
  for (std::int64_t first = begin; first < end; first += kKeys) {
    waitForCopies<0>();
    __syncthreads();  // keys are there, and nobody reads values any more
    copyRows<kHead>(problem.seen.values, first, args.kvHeads, place.kvHead, shared.values);
    commitCopies();
    Scores scores;
    scoreKeys(shared, scores);
    __syncthreads();  // nobody reads keys any more
    if (first + kKeys < end)
      copyRows<kHead>(problem.seen.keys, first + kKeys, args.kvHeads, place.kvHead, shared.keys);
    commitCopies();
    float largest[2] = {running.largest[0], running.largest[1]};
    maskScores(problem, place, problem.seen.base + first, scores, largest);
    Product16::Left weights[kKeyTiles];
    float fade[2];
    weighScores(scores, largest, running, weights, fade);
    waitForCopies<1>();
    __syncthreads();  // values are there
    addValues<kHead>(shared, weights, fade, out);
  }
  waitForCopies<0>();
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    running.sum[h] += __shfl_xor_sync(kAllLanes, running.sum[h], 1);
    running.sum[h] += __shfl_xor_sync(kAllLanes, running.sum[h], 2);
  }
  writeOutputs<kHead>(problem, place, running, out);
}

// Dimensions a head is padded to.
std::int64_t paddedHead(std::int64_t Dh) {
  return Dh <= 64 ? 64 : Dh <= 128 ? 128 : 256;
}

template <int kHead>
void launchTiles(const Problem& problem, Stream stream) {
  const dim3 grid(static_cast<unsigned>((problem.args.T + kQueries - 1) / kQueries),
                  static_cast<unsigned>(problem.args.H));
  launch(tensor_attention_kernel<kHead>, {grid, dim3(kThreads), sizeof(Shared<kHead>)}, stream, problem);
}

}  // namespace

std::int64_t tensorAttentionWorkspace(std::int64_t positions, std::int64_t kvHeads, std::int64_t Dh) {
  return roundUp(positions, kKeys) * kvHeads * paddedHead(Dh) * 2 * std::int64_t{sizeof(Bf16)};
}

void tensorAttention(const TensorAttentionArgs& all, Stream stream) {
  const AttentionArgs& args = all.attention;
  assert(args.Dh <= kMaxHeadSize && (args.weights == nullptr || all.statistics != nullptr));
  if (args.T == 0) return;
  const std::int64_t before = std::min(args.older, args.firstPosition);
  const std::int64_t positions = roundUp(before + args.T, kKeys);
  const std::int64_t head = paddedHead(args.Dh);
  auto* const keys = static_cast<Bf16*>(all.workspace);
  Bf16* const values = keys + positions * args.kvHeads * head;
  const std::int64_t base = args.firstPosition - before;
  launch(round_seen_kernel, {dim3(static_cast<unsigned>(positions)), dim3(kRoundThreads)}, stream, args, base,
         static_cast<int>(head), keys, values);
  const Problem problem{args,
                        static_cast<Bf16*>(all.operand),
                        all.statistics,
                        {keys, values, base},
                        static_cast<int>(std::min<std::int64_t>(args.older, INT_MAX)),
                        1.0F / std::sqrt(static_cast<float>(args.Dh))};
  if (head == 64) {
    launchTiles<64>(problem, stream);
  } else if (head == 128) {
    launchTiles<128>(problem, stream);
  } else {
    launchTiles<256>(problem, stream);
  }
  if (args.weights != nullptr) attentionWeights(args, all.statistics, stream);
}

}  // namespace eyrie::kernels::cuda
