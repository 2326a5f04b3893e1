// Chunks of queries over a window on tensor cores. Keys and values that the chunk sees become bf16 first, in
// order of position and padded to whole tiles, so that the rest copies them without a look at ring or edges.
// Then a block takes 64 queries of one head through 32 keys at a time: products of queries and keys, softmax
// on the way, products of weights and values. The next keys arrive during the softmax and the second product,
// the next values during the first product of the next round.
#include <algorithm>
#include <cassert>
#include <climits>
#include <cmath>
#include <cstddef>

#include "kernels/cuda/attention_weights.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/tiles.h"

namespace eyrie::kernels::cuda {
namespace {

using Bf16 = __nv_bfloat16;
using Product16 = Tiles<Bf16>;

constexpr int kQueries = 64;
constexpr int kKeys = 32;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kTeam = kThreads / kQueries;  // lanes that share a query's softmax
constexpr float kLog2e = 1.4426950408889634F;
constexpr int kElementsOfLane = kTile * kTile / kWarp;

// A warp's part of the output: two tiles down, a quarter of the head across.
constexpr int kDown = 2;
template <int kHead>
inline constexpr int kAcross = kHead / 4 / kTile;
template <int kHead>
using Outputs = Product16::Sum[kDown][kAcross<kHead>];

// Rows are a few elements longer than what they hold, so that those of a tile lie in different banks.
template <int kHead>
struct alignas(128) Shared {
  Bf16 queries[kQueries][kHead + 8];
  Bf16 keys[kKeys][kHead + 8];
  Bf16 values[kKeys][kHead + 8];
  float scores[kQueries][kKeys + 4];
  Bf16 weights[kQueries][kKeys + 8];
  float fades[kQueries];
  float sums[kQueries];
};
// In the end queries, keys and values make way for the outputs.
template <int kHead>
inline constexpr int kOutputStride = kHead + 4;
static_assert(sizeof(float) * kQueries * kOutputStride<64> <= offsetof(Shared<64>, scores));

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
  int older;  // as args.older, or what no position is apart
  float scale;
};

__global__ void __launch_bounds__(kThreads)
    round_seen_kernel(AttentionArgs args, std::int64_t base, int head, Bf16* keys, Bf16* values) {
  const std::int64_t position = base + blockIdx.x;
  const bool there = position < args.firstPosition + args.T;
  const bool inChunk = position >= args.firstPosition;
  const std::int64_t row = !there    ? 0
                           : inChunk ? position - args.firstPosition
                                     : position % args.ring.capacity;
  const float* const fromKeys = inChunk ? args.k : args.ring.keys;
  const float* const fromValues = inChunk ? args.v : args.ring.values;
  for (std::int64_t at = threadIdx.x; at < args.kvHeads * head; at += kThreads) {
    const std::int64_t d = at % head;
    const bool real = there && d < args.Dh;
    const std::int64_t from = (row * args.kvHeads + at / head) * args.Dh + d;
    const std::int64_t to = blockIdx.x * args.kvHeads * head + at;
    keys[to] = __float2bfloat16(real ? fromKeys[from] : 0.0F);
    values[to] = __float2bfloat16(real ? fromValues[from] : 0.0F);
  }
}

// kKeys rows of one head, `first` the first of them.
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
__device__ __forceinline__ void roundQueries(const AttentionArgs& args, std::int64_t firstQuery,
                                             std::int64_t head, Shared<kHead>& shared) {
  for (int at = static_cast<int>(threadIdx.x); at < kQueries * kHead; at += kThreads) {
    const std::int64_t t = firstQuery + at / kHead;
    const std::int64_t d = at % kHead;
    const bool real = t < args.T && d < args.Dh;
    shared.queries[at / kHead][d] = __float2bfloat16(real ? args.q[(t * args.H + head) * args.Dh + d] : 0.0F);
  }
}

// A tile a warp.
template <int kHead>
__device__ __forceinline__ void scoreKeys(Shared<kHead>& shared) {
  static_assert(kWarps == kQueries / kTile * (kKeys / kTile));
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const int query = warp / 2 * kTile;
  const int key = warp % 2 * kTile;
  Product16::Sum scores;
  Product16::clear(scores);
#pragma unroll 4
  for (int d = 0; d < kHead; d += kTile) {
    Product16::Left queries;
    Product16::Right<false> keys;
    Product16::load(queries, &shared.queries[query][d], kHead + 8);
    Product16::load(keys, &shared.keys[key][d], kHead + 8);
    Product16::multiply(scores, queries, keys);
  }
  Product16::store(&shared.scores[query][key], scores, kKeys + 4);
}

// A query's softmax on the way, the same in all lanes of its team.
struct Running {
  float largest = -INFINITY;
  float sum = 0;
};

__device__ __forceinline__ float exponential(float x) {
  return exp2f(x * kLog2e);
}

// Scores of one query and kKeys keys, the first at `position`, become weights relative to the largest so far.
template <int kHead>
__device__ __forceinline__ void weighKeys(const Problem& problem, std::int64_t t, std::int64_t head,
                                          std::int64_t position, Running& running, Shared<kHead>& shared) {
  const AttentionArgs& args = problem.args;
  const int query = static_cast<int>(threadIdx.x) / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  // From the query to the first key; queries that are not there see nothing.
  const int back = t < args.T ? static_cast<int>(args.firstPosition + t - position) : -1;
  float scores[kKeys / kTeam];
  float largest = running.largest;
#pragma unroll
  for (int i = 0; i < kKeys / kTeam; ++i) {
    const int key = lane + i * kTeam;
    const int distance = back - key;
    const bool seen = distance >= 0 && distance <= problem.older;
    scores[i] = seen ? shared.scores[query][key] * problem.scale : -INFINITY;
    if (seen && args.weights != nullptr && distance < args.span)
      args.weights[(t * args.H + head) * args.span + args.span - 1 - distance] = scores[i];
    largest = fmaxf(largest, scores[i]);
  }
#pragma unroll
  for (int step = kTeam / 2; step > 0; step /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step, kTeam));
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kKeys / kTeam; ++i) {
    const Bf16 weight = __float2bfloat16(scores[i] > -INFINITY ? exponential(scores[i] - largest) : 0.0F);
    sum += __bfloat162float(weight);  // as the product reads it, so that weights add up to 1
    shared.weights[query][lane + i * kTeam] = weight;
  }
#pragma unroll
  for (int step = kTeam / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step, kTeam);
  const float fade = running.sum > 0.0F ? exponential(running.largest - largest) : 1.0F;
  running.sum = running.sum * fade + sum;
  running.largest = largest;
  if (lane == 0) shared.fades[query] = fade;
}

// Which row of its tile each of a lane's elements of a Sum is of, four bits each: the hardware's own affair,
// so it is asked. A barrier must follow before scores are written again.
template <int kHead>
__device__ __forceinline__ unsigned askRows(Shared<kHead>& shared) {
  for (int at = static_cast<int>(threadIdx.x); at < kTile * kTile; at += kThreads)
    shared.scores[at / kTile][at % kTile] = static_cast<float>(at / kTile);
  __syncthreads();
  Product16::Sum numbers;
  Product16::loadSum(numbers, &shared.scores[0][0], kKeys + 4);
  unsigned rows = 0;
#pragma unroll
  for (int i = 0; i < kElementsOfLane; ++i) rows |= static_cast<unsigned>(numbers.x[i]) << 4 * i;
  return rows;
}

// out = out * fade + weights values.
template <int kHead>
__device__ __forceinline__ void addValues(const Shared<kHead>& shared, unsigned rows, Outputs<kHead>& out) {
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const int query = warp / 4 * kDown * kTile;
  const int column = warp % 4 * kAcross<kHead> * kTile;
#pragma unroll
  for (int t = 0; t < kDown; ++t) {
    const float* const fades = shared.fades + query + t * kTile;
    if (__any_sync(kAllLanes, fades[threadIdx.x % kTile] != 1.0F) == 0) continue;
#pragma unroll
    for (int i = 0; i < kElementsOfLane; ++i) {
      const float fade = fades[rows >> 4 * i & 15U];
#pragma unroll
      for (int n = 0; n < kAcross<kHead>; ++n) out[t][n].x[i] *= fade;
    }
  }
#pragma unroll
  for (int k = 0; k < kKeys; k += kTile) {
    Product16::Right<true> values[kAcross<kHead>];
#pragma unroll
    for (int n = 0; n < kAcross<kHead>; ++n)
      Product16::load(values[n], &shared.values[k][column + n * kTile], kHead + 8);
#pragma unroll
    for (int t = 0; t < kDown; ++t) {
      Product16::Left weights;
      Product16::load(weights, &shared.weights[query + t * kTile][k], kKeys + 8);
#pragma unroll
      for (int n = 0; n < kAcross<kHead>; ++n) Product16::multiply(out[t][n], weights, values[n]);
    }
  }
}

template <int kHead>
__device__ __forceinline__ void writeOutputs(const Problem& problem, std::int64_t firstQuery,
                                             std::int64_t head, const Outputs<kHead>& out,
                                             Shared<kHead>& shared) {
  const AttentionArgs& args = problem.args;
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  float* const staged = reinterpret_cast<float*>(&shared);
#pragma unroll
  for (int t = 0; t < kDown; ++t)
#pragma unroll
    for (int n = 0; n < kAcross<kHead>; ++n)
      Product16::store(staged + (warp / 4 * kDown + t) * kTile * kOutputStride<kHead> +
                           (warp % 4 * kAcross<kHead> + n) * kTile,
                       out[t][n], kOutputStride<kHead>);
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < kQueries * kHead; at += kThreads) {
    const int query = at / kHead;
    const int d = at % kHead;
    if (firstQuery + query >= args.T || d >= args.Dh) continue;
    const float value = staged[query * kOutputStride<kHead> + d] / shared.sums[query];
    const std::int64_t to = ((firstQuery + query) * args.H + head) * args.Dh + d;
    if (args.out != nullptr) args.out[to] = value;
    if (problem.operand != nullptr) problem.operand[to] = __float2bfloat16(value);
  }
}

template <int kHead>
__global__ void __launch_bounds__(kThreads, 2) tensor_attention_kernel(Problem problem) {
  EYRIE_DYNAMIC_SHARED(Shared<kHead>, memory);
  Shared<kHead>& shared = *memory;
  const AttentionArgs& args = problem.args;
  const std::int64_t firstQuery = static_cast<std::int64_t>(blockIdx.x) * kQueries;
  const std::int64_t head = blockIdx.y;
  const std::int64_t kvHead = head / (args.H / args.kvHeads);
  const std::int64_t t = firstQuery + threadIdx.x / kTeam;
  const std::int64_t lastQuery = firstQuery + kQueries < args.T ? firstQuery + kQueries - 1 : args.T - 1;
  // Rows of what is seen.
  const std::int64_t oldest = args.firstPosition + firstQuery - args.older - problem.seen.base;
  const std::int64_t begin = oldest > 0 ? oldest / kKeys * kKeys : 0;
  const std::int64_t end = args.firstPosition + lastQuery - problem.seen.base + 1;

  copyRows<kHead>(problem.seen.keys, begin, args.kvHeads, kvHead, shared.keys);
  commitCopies();
  copyRows<kHead>(problem.seen.values, begin, args.kvHeads, kvHead, shared.values);
  commitCopies();
  const unsigned rows = askRows(shared);
  roundQueries(args, firstQuery, head, shared);
  Outputs<kHead> out;
#pragma unroll
  for (auto& down : out)
#pragma unroll
    for (auto& tile : down) Product16::clear(tile);
  Running running;
  for (std::int64_t first = begin; first < end; first += kKeys) {
    const bool more = first + kKeys < end;
    waitForCopies<1>();
    __syncthreads();  // the keys are there
    scoreKeys(shared);
    __syncthreads();
    if (more) copyRows<kHead>(problem.seen.keys, first + kKeys, args.kvHeads, kvHead, shared.keys);
    commitCopies();
    weighKeys(problem, t, head, problem.seen.base + first, running, shared);
    waitForCopies<1>();
    __syncthreads();  // weights and values are there
    addValues(shared, rows, out);
    __syncthreads();
    if (more) copyRows<kHead>(problem.seen.values, first + kKeys, args.kvHeads, kvHead, shared.values);
    commitCopies();
  }
  waitForCopies<0>();
  if (threadIdx.x % kTeam == 0) shared.sums[threadIdx.x / kTeam] = running.sum;
  writeOutputs(problem, firstQuery, head, out, shared);
  if (args.weights == nullptr || t >= args.T || threadIdx.x % kTeam != 0) return;
  problem.statistics[2 * (t * args.H + head)] = running.largest;
  problem.statistics[2 * (t * args.H + head) + 1] = running.sum;
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
  const std::int64_t before = args.older < args.firstPosition ? args.older : args.firstPosition;
  const std::int64_t positions = roundUp(before + args.T, kKeys);
  const std::int64_t head = paddedHead(args.Dh);
  auto* const keys = static_cast<Bf16*>(all.workspace);
  Bf16* const values = keys + positions * args.kvHeads * head;
  const std::int64_t base = args.firstPosition - before;
  launch(round_seen_kernel, {dim3(static_cast<unsigned>(positions)), dim3(kThreads)}, stream, args, base,
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
