// The k largest logits of each row, and the draw of a token among them. Blocks sort 2048 candidates each and
// keep their k best, until one block is left. A candidate is one 64-bit number that orders by logit and then
// by rising index, so that all differ and any order of blocks gives the same result.
#include <cassert>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/draw.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kSpan = 2048;  // candidates of a block

// Rising with the logit; NaN is -infinity, -0 is 0. 0 is below all.
__device__ __forceinline__ std::uint64_t candidateOf(float logit, std::int64_t index) {
  float value = logit == 0.0F ? 0.0F : logit;
  if (!(value == value)) value = -INFINITY;
  const unsigned bits = __float_as_uint(value);
  const unsigned ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<std::uint64_t>(ordered) << 32 | (0xffffffffU - static_cast<unsigned>(index));
}

__device__ __forceinline__ float logitOf(std::uint64_t candidate) {
  const auto ordered = static_cast<unsigned>(candidate >> 32);
  return __uint_as_float(ordered >> 31 != 0 ? ordered & 0x7fffffffU : ~ordered);
}

// Bitonic, largest first.
__device__ __forceinline__ void sortFalling(std::uint64_t* candidates) {
  for (unsigned size = 2; size <= kSpan; size *= 2) {
    for (unsigned step = size / 2; step > 0; step /= 2) {
      for (unsigned pair = threadIdx.x; pair < kSpan / 2; pair += kThreads) {
        const unsigned low = pair / step * 2 * step + pair % step;
        const unsigned high = low + step;
        const bool falling = (low & size) == 0;
        const std::uint64_t a = candidates[low];
        const std::uint64_t b = candidates[high];
        if ((a < b) == falling) {
          candidates[low] = b;
          candidates[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

// What a round reads: logits in the first, candidates in the others; of blockIdx.y rows.
struct Source {
  const float* logits;
  const std::uint64_t* candidates;
  std::int64_t count;  // of a row
};

__device__ __forceinline__ void keepBest(const Source& from, std::uint64_t* held) {
  letNextBegin();
  waitForPrior();
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kSpan;
  const std::int64_t row = blockIdx.y * from.count;
  for (std::int64_t i = threadIdx.x; i < kSpan; i += kThreads) {
    const std::int64_t at = begin + i;
    held[i] = at >= from.count         ? 0
              : from.logits != nullptr ? candidateOf(from.logits[row + at], at)
                                       : from.candidates[row + at];
  }
  __syncthreads();
  sortFalling(held);
}

__global__ void __launch_bounds__(kThreads)
    top_k_round_kernel(Source from, std::int64_t k, std::uint64_t* kept) {
  EYRIE_SHARED(std::uint64_t, held, [kSpan]);
  keepBest(from, held);
  kept += (static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * k;
  for (std::int64_t i = threadIdx.x; i < k; i += kThreads) kept[i] = held[i];
}

__global__ void __launch_bounds__(kThreads)
    top_k_kernel(Source from, std::int64_t k, std::int32_t* indices, float* values) {
  EYRIE_SHARED(std::uint64_t, held, [kSpan]);
  keepBest(from, held);
  indices += blockIdx.y * k;
  values += blockIdx.y * k;
  for (std::int64_t i = threadIdx.x; i < k; i += kThreads) {
    indices[i] = static_cast<std::int32_t>(0xffffffffU - static_cast<unsigned>(held[i]));
    values[i] = logitOf(held[i]);
  }
}

// sums[i] becomes the sum of the first i + 1 of them: whole numbers, so that the order does not matter. Every
// thread of the block has one.
__device__ __forceinline__ void sumUp(std::uint64_t* sums) {
  const unsigned i = threadIdx.x;
  __syncthreads();
  for (unsigned step = 1; step < blockDim.x; step *= 2) {
    const std::uint64_t earlier = i >= step ? sums[i - step] : 0;
    __syncthreads();
    sums[i] += earlier;
    __syncthreads();
  }
}

// What of a row's candidates passes its filters, and whether no other token does.
struct Passing {
  const std::uint64_t* sums;  // of their weights
  std::int64_t known, most;
  bool isSound;
  DrawFilter filter;

  __device__ std::uint64_t before(std::int64_t i) const { return i > 0 ? sums[i - 1] : 0; }
  __device__ bool keeps(std::int64_t i) const {
    return i < known && i < most && filter.keeps(before(i), sums[i] - before(i));
  }
  // With candidate i as the last that passes.
  __device__ bool isDecided(std::int64_t i) const {
    return isSound && (i + 1 < known || most <= known || sums[i] >= filter.wanted);
  }
};

__device__ __forceinline__ Passing passingOf(const DrawArgs& args, const DrawRule& rule, std::int64_t row,
                                             const std::uint64_t* sums) {
  const std::int64_t most = mostKept(rule, args.V);
  const std::int64_t last = (most < args.known ? most : args.known) - 1;
  const LogitStats scaled = args.scaled[row];
  const bool all = most == args.V;
  const bool isSound =
      isNumber(args.stats[row].logSumExp) && (all ? isNumber(scaled.logSumExp) : most <= args.known);
  return {sums, args.known, most, isSound, filterOf(rule, all ? massOf(scaled) : sums[last])};
}

// A block a row, a thread a candidate.
__global__ void __launch_bounds__(kMaxTopK) draw_kernel(DrawArgs args) {
  EYRIE_SHARED(std::uint64_t, sums, [kMaxTopK]);
  EYRIE_SHARED(std::int32_t, kept, [1]);
  letNextBegin();
  waitForPrior();
  const std::int64_t row = blockIdx.x;
  const std::int32_t i = static_cast<std::int32_t>(threadIdx.x);
  const float* logits = args.logits + row * args.known;
  const DrawRule rule = args.rules[row];
  sums[i] = i < args.known ? weightOf(logits[i], logits[0], rule.temperature) : 0;
  if (i == 0) kept[0] = 0;
  sumUp(sums);
  const Passing passing = passingOf(args, rule, row, sums);
  if (passing.keeps(i) && !passing.keeps(i + 1) && passing.isDecided(i)) kept[0] = i + 1;
  __syncthreads();
  const std::int32_t last = kept[0] - 1;
  if (last < 0) {
    if (i == 0) args.drawn[row] = {};
    return;
  }
  const std::uint64_t point = pointOf(rule, sums[last]);
  if (i <= last && point >= passing.before(i) && (point < sums[i] || i == last))
    args.drawn[row] = {sums[last], args.tokens[row * args.known + i], last + 1};
}

std::int64_t spansOf(std::int64_t count) {
  return (count + kSpan - 1) / kSpan;
}

}  // namespace

std::int64_t topKWorkspace(std::int64_t V, std::int64_t k) {
  const std::int64_t first = V <= kSpan ? 0 : spansOf(V) * k;
  return first + (first <= kSpan ? 0 : spansOf(first) * k);
}

void topK(const TopKArgs& args, std::uint64_t* workspace, Stream stream, std::int64_t rows) {
  assert(args.k <= kMaxTopK && args.k <= args.V);
  const auto shapeOf = [&](std::int64_t blocks) {
    return early({dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(rows)), dim3(kThreads)});
  };
  Source from{args.logits, nullptr, args.V};
  // Rounds read one of two buffers and write the other; the second never holds more than the first.
  std::uint64_t* kept = workspace;
  std::uint64_t* other = workspace + rows * spansOf(args.V) * args.k;
  while (from.count > kSpan) {
    const std::int64_t blocks = spansOf(from.count);
    launch(top_k_round_kernel, shapeOf(blocks), stream, from, args.k, kept);
    from = {nullptr, kept, blocks * args.k};
    std::swap(kept, other);
  }
  launch(top_k_kernel, shapeOf(1), stream, from, args.k, args.indices, args.values);
}

void draw(const DrawArgs& args, Stream stream) {
  assert(args.known >= 1 && args.known <= kMaxTopK && args.known <= args.V);
  if (args.rows == 0) return;
  const std::int64_t threads = (args.known + kWarp - 1) / kWarp * kWarp;
  launch(draw_kernel, early({dim3(static_cast<unsigned>(args.rows)), dim3(static_cast<unsigned>(threads))}),
         stream, args);
}

}  // namespace eyrie::kernels::cuda
