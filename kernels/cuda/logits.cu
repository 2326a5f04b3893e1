// Soft cap, and the statistics of a row of logits: each block takes a part of the vocabulary, one block joins
// the parts.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kPart = 4096;

__global__ void soft_cap_kernel(SoftCapArgs args) {
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

__global__ void __launch_bounds__(kThreads)
    logit_sums_kernel(const float* logits, std::int64_t V, const float* scaling, Sums* parts) {
  EYRIE_SHARED(float, partials, [kThreads / kWarp]);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kPart;
  const std::int64_t end = begin + kPart < V ? begin + kPart : V;
  const float scale = scaling == nullptr ? 1.0F : *scaling;
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
  if (threadIdx.x == 0) parts[blockIdx.x] = {largest, sum, weighted};
}

__global__ void __launch_bounds__(kThreads)
    logit_stats_kernel(const Sums* parts, std::int64_t count, LogitStats* out) {
  EYRIE_SHARED(float, partials, [kThreads / kWarp]);
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
  *out = fabsf(largest) == INFINITY ? LogitStats{largest, largest, 0.0F}
                                    : LogitStats{largest, largest + logSum, logSum - weighted / sum};
}

std::int64_t partsOf(std::int64_t V) {
  return (V + kPart - 1) / kPart;
}

}  // namespace

void softCap(const SoftCapArgs& args, Stream stream) {
  if (args.n > 0 && args.cap > 0.0F) launch(soft_cap_kernel, elementShape(args.n), stream, args);
}

std::int64_t logitStatsWorkspace(std::int64_t V) {
  return partsOf(V) * static_cast<std::int64_t>(sizeof(Sums) / sizeof(float));
}

void logitStats(const float* logits, std::int64_t V, float* workspace, LogitStats* out, Stream stream,
                const float* scale) {
  auto* parts = reinterpret_cast<Sums*>(workspace);
  launch(logit_sums_kernel, {dim3(static_cast<unsigned>(partsOf(V))), dim3(kThreads)}, stream, logits, V,
         scale, parts);
  launch(logit_stats_kernel, {dim3(1), dim3(kThreads)}, stream, parts, partsOf(V), out);
}

}  // namespace eyrie::kernels::cuda
