// Soft cap, and the statistics of rows of logits: each block takes a part of a row, one block joins a row's
// parts. The second half of the blocks sees logits that are scaled.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kPart = 4096;

__global__ void soft_cap_kernel(SoftCapArgs args) {
  letNextBegin();
  waitForPrior();
  const std::int64_t i = elementIndex();
  if (i < args.n) args.logits[i] = args.cap * tanhf(args.logits[i] / args.cap);
}

// With z = logit - largest: sums of e^z and of e^z z.
struct Sums {
  float largest, sum, weighted;
};

// `sums` seen from a larger largest. What saw nothing (or -infinity only) weighs nothing.
__device__ __forceinline__ Sums seenFrom(float largest, const Sums& sums) {
  if (sums.largest == -INFINITY) return {largest, 0.0F, 0.0F};
  const float down = sums.largest - largest;
  const float fade = expf(down);
  return {largest, sums.sum * fade, fade > 0.0F ? fade * (sums.weighted + down * sums.sum) : 0.0F};
}

// Of blocks (parts, rows, 1 or 2).
__global__ void __launch_bounds__(kThreads) logit_sums_kernel(LogitStatsArgs args) {
  EYRIE_SHARED(float, partials, [kThreads / kWarp]);
  letNextBegin();
  waitForPrior();
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kPart;
  const std::int64_t end = begin + kPart < args.V ? begin + kPart : args.V;
  const float* logits = args.logits + blockIdx.y * args.V;
  const float scale = blockIdx.z == 0 ? 1.0F : args.scale[blockIdx.y];
  float largest = -INFINITY;
  for (std::int64_t v = begin + threadIdx.x; v < end; v += kThreads)
    largest = fmaxf(largest, scale * logits[v]);
  largest = blockMax(largest, partials);
  float sum = 0;
  float weighted = 0;
  if (largest > -INFINITY) {
    for (std::int64_t v = begin + threadIdx.x; v < end; v += kThreads) {
      const float z = scale * logits[v] - largest;
      const float e = expf(z);
      sum += e;
      if (e > 0.0F) weighted += e * z;
    }
  }
  sum = blockSum(sum, partials);
  weighted = blockSum(weighted, partials);
  Sums* parts = reinterpret_cast<Sums*>(args.workspace) + (blockIdx.z * args.rows + blockIdx.y) * gridDim.x;
  if (threadIdx.x == 0) parts[blockIdx.x] = {largest, sum, weighted};
}

// Of blocks (rows, 1 or 2); a row has `count` parts.
__global__ void __launch_bounds__(kThreads) logit_stats_kernel(LogitStatsArgs args, std::int64_t count) {
  EYRIE_SHARED(float, partials, [kThreads / kWarp]);
  letNextBegin();
  waitForPrior();
  const std::int64_t row = blockIdx.x;
  const Sums* parts = reinterpret_cast<const Sums*>(args.workspace) + (blockIdx.y * args.rows + row) * count;
  float largest = -INFINITY;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) largest = fmaxf(largest, parts[i].largest);
  largest = blockMax(largest, partials);
  float sum = 0;
  float weighted = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
    const Sums part = seenFrom(largest, parts[i]);
    sum += part.sum;
    weighted += part.weighted;
  }
  sum = blockSum(sum, partials);
  weighted = blockSum(weighted, partials);
  if (threadIdx.x != 0) return;
  const float logSum = logf(sum);
  (blockIdx.y == 0 ? args.out : args.scaled)[row] =
      fabsf(largest) == INFINITY ? LogitStats{largest, largest, 0.0F}
                                 : LogitStats{largest, largest + logSum, logSum - weighted / sum};
}

std::int64_t partsOf(std::int64_t V) {
  return (V + kPart - 1) / kPart;
}

}  // namespace

void softCap(const SoftCapArgs& args, Stream stream) {
  if (args.n > 0 && args.cap > 0.0F) launch(soft_cap_kernel, early(elementShape(args.n)), stream, args);
}

std::int64_t logitStatsWorkspace(std::int64_t V) {
  return 2 * partsOf(V) * static_cast<std::int64_t>(sizeof(Sums) / sizeof(float));
}

void logitStats(const LogitStatsArgs& args, Stream stream) {
  if (args.rows == 0) return;
  const auto parts = static_cast<unsigned>(partsOf(args.V));
  const auto rows = static_cast<unsigned>(args.rows);
  const unsigned kinds = args.scale == nullptr ? 1 : 2;
  launch(logit_sums_kernel, early({dim3(parts, rows, kinds), dim3(kThreads)}), stream, args);
  launch(logit_stats_kernel, early({dim3(rows, kinds), dim3(kThreads)}), stream, args, parts);
}

}  // namespace eyrie::kernels::cuda
