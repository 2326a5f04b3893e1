// The RG-LRU over a chunk of tokens: gates, decay and recurrence in one pass, a thread a channel. Eight steps
// of inputs are loaded and their gates computed before the state, which alone depends on the step before,
// walks through them.
#include "kernels/cuda/gates.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kAhead = 8;
constexpr std::int64_t kChunk = 128;

struct Scan {
  RgLruArgs args;
  RgLruOverrides overrides;
  std::int64_t chunk;  // steps of one; T: there is one only
  float* products;     // (chunks, R); row 0: the state before the first chunk
  float* sums;         // (chunks, R): the state after a chunk that began with 0; of the first, the real one
};

// One channel's state and, where asked, the factor between it and the state the chunk began with.
struct Walk {
  float state;
  float product;
};

// Steps [begin, end) of channel r. kReplay: with outputs; otherwise only the walk counts.
template <bool kOverridden, bool kReplay>
__device__ __forceinline__ Walk walk(const Scan& scan, std::int64_t r, std::int64_t begin, std::int64_t end,
                                     float state) {
  const RgLruArgs& args = scan.args;
  const float rate = args.decayRate[r];
  Walk at{state, 1.0F};
  for (std::int64_t first = begin; first < end; first += kAhead) {
    Gates gates[kAhead];
    float x[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i >= end) break;
      const std::int64_t index = (first + i) * args.R + r;
      const bool reset = args.startsSequence && first + i == 0;
      x[i] = args.x[index];
      if constexpr (kOverridden) {
        gates[i] = overriddenGatesOf(args.recurrencePre[index], args.inputPre[index], rate, reset,
                                     scan.overrides, r);
      } else {
        gates[i] = gatesOf(args.recurrencePre[index], args.inputPre[index], rate, reset);
      }
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i >= end) break;
      const std::int64_t index = (first + i) * args.R + r;
      const bool reset = args.startsSequence && first + i == 0;
      const float write = gates[i].multiplier * (gates[i].input * x[i]);
      const float keep = reset ? 0.0F : gates[i].decay * at.state;
      at.state = keep + write;
      at.product *= gates[i].decay;
      if constexpr (kOverridden) {
        at.state = mapped(scan.overrides.state, r, at.state);
        at.product *= scan.overrides.state.scale[r];
      }
      if constexpr (kReplay) {
        observe(args.taps, index, gates[i], write, keep);
        args.out[index] = at.state;
      }
    }
  }
  return at;
}

__device__ __forceinline__ std::int64_t endOf(const Scan& scan, std::int64_t chunk) {
  const std::int64_t end = (chunk + 1) * scan.chunk;
  return end < scan.args.T ? end : scan.args.T;
}

template <bool kOverridden>
__global__ void __launch_bounds__(kThreads) rg_lru_summary_kernel(Scan scan) {
  const std::int64_t R = scan.args.R;
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t chunk = blockIdx.y;
  if (r >= R) return;
  const float before = chunk == 0 ? scan.args.state[r] : 0.0F;
  const Walk end = walk<kOverridden, false>(scan, r, chunk * scan.chunk, endOf(scan, chunk), before);
  scan.products[chunk * R + r] = chunk == 0 ? before : end.product;
  scan.sums[chunk * R + r] = end.state;
}

template <bool kOverridden>
__global__ void __launch_bounds__(kThreads) rg_lru_kernel(Scan scan) {
  const std::int64_t R = scan.args.R;
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t chunk = blockIdx.y;
  if (r >= R) return;
  float state = 0;
  if (gridDim.y == 1) {
    state = scan.args.state[r];
  } else {
    state = chunk == 0 ? scan.products[r] : scan.sums[r];
    for (std::int64_t c = 1; c < chunk; ++c) state = scan.products[c * R + r] * state + scan.sums[c * R + r];
  }
  const std::int64_t end = endOf(scan, chunk);
  state = walk<kOverridden, true>(scan, r, chunk * scan.chunk, end, state).state;
  if (end == scan.args.T) scan.args.state[r] = state;
}

template <bool kOverridden>
void launchScan(const Scan& scan, Stream stream) {
  const std::int64_t T = scan.args.T;
  const dim3 grid(static_cast<unsigned>((scan.args.R + kThreads - 1) / kThreads),
                  static_cast<unsigned>((T + scan.chunk - 1) / scan.chunk));
  if (grid.y > 1) launch(rg_lru_summary_kernel<kOverridden>, {grid, dim3(kThreads)}, stream, scan);
  launch(rg_lru_kernel<kOverridden>, {grid, dim3(kThreads)}, stream, scan);
}

}  // namespace

std::int64_t rgLruWorkspace(std::int64_t T, std::int64_t R) {
  return T <= kChunk ? 0 : 2 * R * ((T + kChunk - 1) / kChunk);
}

void rgLru(const RgLruArgs& args, float* workspace, Stream stream) {
  if (args.T == 0 || args.R == 0) return;
  Scan scan{args, {}, args.T, nullptr, nullptr};
  if (workspace != nullptr && args.T > kChunk) {
    scan.chunk = kChunk;
    scan.products = workspace;
    scan.sums = workspace + rgLruWorkspace(args.T, args.R) / 2;
  }
  if (args.overrides == nullptr) return launchScan<false>(scan, stream);
  scan.overrides = *args.overrides;
  launchScan<true>(scan, stream);
}

}  // namespace eyrie::kernels::cuda
