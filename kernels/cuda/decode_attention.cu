// One query a sequence over its ring of keys. Blocks share a window (split-k): each of a block's warps walks
// through every eighth key of its part, four at a time so that their loads are on the way together, with a
// running softmax for four query heads at once, which share each key they load; the warps' results are joined
// in shared memory, the parts' by a second kernel.
#include <cassert>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kHeads = 4;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kTogether = 4;  // keys of a warp's turn

// Positions that the token at `position` sees: [first, position].
struct Window {
  std::int64_t first;
  std::int64_t count;
};

__device__ __forceinline__ Window windowOf(const DecodeAttentionArgs& args, std::int64_t position) {
  const std::int64_t first = position > args.older ? position - args.older : 0;
  return {first, position - first + 1};
}

// A softmax on the way: its largest score, and sums of exp(score - largest) alone and times the values.
template <int kPerLane>
struct Running {
  float largest = -INFINITY;
  float sum = 0;
  float values[kPerLane] = {};

  // A score of -infinity counts for nothing; the first is another.
  __device__ __forceinline__ void add(const float (&scores)[kTogether],
                                      const float (&rows)[kTogether][kPerLane]) {
    float top = largest;
#pragma unroll
    for (int j = 0; j < kTogether; ++j) top = fmaxf(top, scores[j]);
    const float fade = expf(largest - top);
    largest = top;
    sum *= fade;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) values[i] *= fade;
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const float weight = expf(scores[j] - top);
      sum += weight;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) values[i] += weight * rows[j][i];
    }
  }
};

// Where a block's or a part's results lie: unnormalised values, and the largest score and sum after them.
struct Part {
  float* values;  // (Dh)
  float* statistics;
};

__device__ __forceinline__ Part partOf(const DecodeAttentionArgs& args, std::int64_t n, std::int64_t head,
                                       std::int64_t split) {
  const std::int64_t row = (n * args.H + head) * args.splits + split;
  const std::int64_t rows = args.N * args.H * args.splits;
  return {args.workspace + row * args.Dh, args.workspace + rows * args.Dh + 2 * row};
}

// Lane's kPerLane dimensions of a row: four at a time in one load, or one at a time; 0 beyond Dh.
template <int kPerLane, bool kFours>
__device__ __forceinline__ void loadRow(const float* row, std::int64_t Dh, float (&to)[kPerLane]) {
  const std::int64_t lane = threadIdx.x % kWarp;
  if constexpr (kFours) {
#pragma unroll
    for (int i = 0; i < kPerLane; i += 4) {
      const std::int64_t d = 4 * lane + i * kWarp;
      const float4 four = d < Dh ? *reinterpret_cast<const float4*>(row + d) : make_float4(0, 0, 0, 0);
      to[i] = four.x;
      to[i + 1] = four.y;
      to[i + 2] = four.z;
      to[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const std::int64_t d = lane + i * kWarp;
      to[i] = d < Dh ? row[d] : 0.0F;
    }
  }
}

template <bool kFours>
__device__ __forceinline__ std::int64_t dimensionOf(int i) {
  const std::int64_t lane = threadIdx.x % kWarp;
  return kFours ? 4 * lane + i / 4 * 4 * kWarp + i % 4 : lane + i * kWarp;
}

template <int kPerLane, bool kFours>
__global__ void __launch_bounds__(kThreads) decode_attention_kernel(DecodeAttentionArgs args, float scale) {
  EYRIE_DYNAMIC_SHARED(float, values);  // (kWarps, kHeads, Dh)
  EYRIE_SHARED(float, largest, [kWarps][kHeads]);
  EYRIE_SHARED(float, sums, [kWarps][kHeads]);
  const std::int64_t group = args.H / args.kvHeads;
  const std::int64_t tiles = (group + kHeads - 1) / kHeads;
  const std::int64_t kvHead = blockIdx.y / tiles;
  const std::int64_t firstInGroup = blockIdx.y % tiles * kHeads;
  const std::int64_t firstHead = kvHead * group + firstInGroup;
  const int heads = static_cast<int>(group - firstInGroup < kHeads ? group - firstInGroup : kHeads);
  const std::int64_t n = blockIdx.z;
  const std::int64_t split = blockIdx.x;
  letNextBegin();
  waitForPrior();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool firstLane = threadIdx.x % kWarp == 0;
  const std::int64_t position = args.rings.positions[n];
  const Window window = windowOf(args, position);
  const std::int64_t share = (window.count + args.splits - 1) / args.splits;
  const std::int64_t begin = window.first + split * share;
  const std::int64_t end = begin + share < position + 1 ? begin + share : position + 1;

  float q[kHeads][kPerLane];
  Running<kPerLane> running[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h)
    loadRow<kPerLane, kFours>(args.q + (n * args.H + firstHead + (h < heads ? h : 0)) * args.Dh, args.Dh,
                              q[h]);
  const float* const keys = args.rings.keys[n] + kvHead * args.Dh;
  const float* const rows = args.rings.values[n] + kvHead * args.Dh;
  const auto capacity = static_cast<unsigned>(args.rings.capacity);
  const auto beginSlot = static_cast<unsigned>(begin % args.rings.capacity);
  for (std::int64_t first = begin + warp; first < end; first += kWarps * kTogether) {
    float key[kTogether][kPerLane] = {};
    float value[kTogether][kPerLane] = {};
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const std::int64_t s = first + j * kWarps;
      if (s >= end) break;
      const unsigned slot = (beginSlot + static_cast<unsigned>(s - begin)) % capacity;
      const std::int64_t row = slot * args.kvHeads * args.Dh;
      loadRow<kPerLane, kFours>(keys + row, args.Dh, key[j]);
      loadRow<kPerLane, kFours>(rows + row, args.Dh, value[j]);
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float scores[kTogether];
#pragma unroll
      for (int j = 0; j < kTogether; ++j) {
        const std::int64_t back = position - first - j * kWarps;
        float score = 0;
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) score += q[h][i] * key[j][i];
        score = warpSum(score) * scale;
        const bool there = first + j * kWarps < end;
        scores[j] = there ? score : -INFINITY;
        if (args.weights != nullptr && firstLane && there && h < heads && back < args.span)
          args.weights[(n * args.H + firstHead + h) * args.span + args.span - 1 - back] = score;
      }
      running[h].add(scores, value);
    }
  }

#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (firstLane) {
      largest[warp][h] = running[h].largest;
      sums[warp][h] = running[h].sum;
    }
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const std::int64_t d = dimensionOf<kFours>(i);
      if (d < args.Dh) values[(warp * kHeads + h) * args.Dh + d] = running[h].values[i];
    }
  }
  __syncthreads();
  for (int h = 0; h < heads; ++h) {
    const Part part = partOf(args, n, firstHead + h, split);
    float top = -INFINITY;
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, largest[w][h]);
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += sums[w][h] > 0.0F ? sums[w][h] * expf(largest[w][h] - top) : 0.0F;
    for (std::int64_t d = threadIdx.x; d < args.Dh; d += kThreads) {
      float joined = 0;
      for (int w = 0; w < kWarps; ++w)
        if (sums[w][h] > 0.0F) joined += values[(w * kHeads + h) * args.Dh + d] * expf(largest[w][h] - top);
      part.values[d] = joined;
    }
    if (threadIdx.x == 0) {
      part.statistics[0] = top;
      part.statistics[1] = sum;
    }
  }
}

__global__ void __launch_bounds__(kThreads) decode_attention_join_kernel(DecodeAttentionArgs args) {
  EYRIE_DYNAMIC_SHARED(float, shares);  // (splits): what a part's numbers count for
  EYRIE_SHARED(float, partials, [kWarps]);
  letNextBegin();
  waitForPrior();
  const std::int64_t head = blockIdx.x;
  const std::int64_t n = blockIdx.y;
  float top = -INFINITY;
  for (std::int64_t s = threadIdx.x; s < args.splits; s += kThreads)
    top = fmaxf(top, partOf(args, n, head, s).statistics[0]);
  top = blockMax(top, partials);
  float sum = 0;
  for (std::int64_t s = threadIdx.x; s < args.splits; s += kThreads) {
    const float* statistics = partOf(args, n, head, s).statistics;
    shares[s] = expf(statistics[0] - top);
    sum += statistics[1] * shares[s];
  }
  sum = blockSum(sum, partials);  // and all shares are there
  const std::int64_t row = n * args.H + head;
  for (std::int64_t d = threadIdx.x; d < args.Dh; d += kThreads) {
    float joined = 0;
#pragma unroll 8
    for (std::int64_t s = 0; s < args.splits; ++s) joined += partOf(args, n, head, s).values[d] * shares[s];
    args.out[row * args.Dh + d] = joined / sum;
  }
  if (args.weights == nullptr) return;
  const std::int64_t count = windowOf(args, args.rings.positions[n]).count;
  float entropy = 0;
  for (std::int64_t column = threadIdx.x; column < args.span; column += kThreads) {
    float* weight = args.weights + row * args.span + column;
    const std::int64_t back = args.span - 1 - column;
    const float share = back < count ? expf(*weight - top) / sum : 0.0F;
    *weight = share;
    if (share > 0.0F) entropy -= share * logf(share);
    if (args.summary != nullptr && back == count - 1) args.summary[2 * row + 1] = share;
  }
  if (args.summary == nullptr) return;
  entropy = blockSum(entropy, partials);
  if (threadIdx.x == 0) args.summary[2 * row] = entropy;
}

// body(std::integral_constant<int, dimensions a lane>, std::bool_constant<in fours>).
template <class Body>
void withLanes(std::int64_t Dh, Body body) {
  const std::int64_t perLane = (Dh + kWarp - 1) / kWarp;
  const bool fours = Dh % 4 == 0;
  if (fours && perLane <= 4) return body(std::integral_constant<int, 4>{}, std::true_type{});
  if (fours) return body(std::integral_constant<int, 8>{}, std::true_type{});
  body(std::integral_constant<int, 8>{}, std::false_type{});
}

}  // namespace

void decodeAttention(const DecodeAttentionArgs& args, Stream stream) {
  assert(args.Dh <= kMaxHeadSize);
  if (args.N == 0) return;
  const std::int64_t tiles = (args.H / args.kvHeads + kHeads - 1) / kHeads;
  const dim3 grid(static_cast<unsigned>(args.splits), static_cast<unsigned>(args.kvHeads * tiles),
                  static_cast<unsigned>(args.N));
  const float scale = 1.0F / std::sqrt(static_cast<float>(args.Dh));
  Shape parts{grid, dim3(kThreads), static_cast<std::size_t>(kWarps * kHeads * args.Dh) * sizeof(float)};
  parts.early = true;
  withLanes(args.Dh, [&](auto perLane, auto fours) {
    launch(decode_attention_kernel<perLane(), fours()>, parts, stream, args, scale);
  });
  Shape rows{dim3(static_cast<unsigned>(args.H), static_cast<unsigned>(args.N)), dim3(kThreads),
             static_cast<std::size_t>(args.splits) * sizeof(float)};
  rows.early = true;
  launch(decode_attention_join_kernel, rows, stream, args);
}

}  // namespace eyrie::kernels::cuda
