// The RG-LRU with complex states over a chunk of tokens, as rg_lru.cu does it: a thread a channel, gates of
// four steps computed before the state walks through them, time in chunks where there is a workspace.
#include "kernels/cuda/complex_gates.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kAhead = 4;
constexpr std::int64_t kChunk = 128;

struct Scan {
  ComplexRgLruArgs args;
  std::int64_t chunk;  // steps of one; T: there is one only
  float* products;     // (chunks, 2 C); row 0: the state before the first chunk
  float* sums;         // (chunks, 2 C): the state after a chunk that began with 0; of the first, the real one
};

__device__ __forceinline__ Complex at(const float* row, std::int64_t C, std::int64_t c) {
  return {row[c], row[C + c]};
}

__device__ __forceinline__ void put(float* row, std::int64_t C, std::int64_t c, Complex value) {
  row[c] = value.real;
  row[C + c] = value.imag;
}

// One channel's state and the factor between it and the state the chunk began with.
struct Walk {
  Complex state;
  Complex product;
};

// Steps [begin, end) of channel c. kReplay: with outputs; otherwise only the walk counts.
template <bool kReplay>
__device__ __forceinline__ Walk walk(const ComplexRgLruArgs& args, std::int64_t c, std::int64_t begin,
                                     std::int64_t end, Complex state) {
  const std::int64_t C = args.C;
  const float rate = args.decayRate[c];
  const float angleRate = args.angleRate[c];
  Walk on{state, {1.0F, 0.0F}};
  for (std::int64_t first = begin; first < end; first += kAhead) {
    Complex decays[kAhead];
    Complex writes[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i >= end) break;
      const std::int64_t t = first + i;
      const ComplexGates gates = complexGatesOf(args.recurrencePre[t * C + c], args.inputPre[t * C + c], rate,
                                                angleRate, args.startsSequence && t == 0);
      decays[i] = gates.a;
      writes[i] = gates.writeOf(at(args.x + 2 * t * C, C, c));
      if constexpr (kReplay) observe(args.taps, t, C, c, gates);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i >= end) break;
      const std::int64_t t = first + i;
      const bool reset = args.startsSequence && t == 0;
      const Complex keep = reset ? Complex{0.0F, 0.0F} : decays[i] * on.state;
      on.state = keep + writes[i];
      on.product = decays[i] * on.product;
      if constexpr (kReplay) {
        observe(args.taps, t, C, c, writes[i], keep);
        put(args.out + 2 * t * C, C, c, on.state);
      }
    }
  }
  return on;
}

__device__ __forceinline__ std::int64_t endOf(const Scan& scan, std::int64_t chunk) {
  const std::int64_t end = (chunk + 1) * scan.chunk;
  return end < scan.args.T ? end : scan.args.T;
}

__global__ void __launch_bounds__(kThreads) complex_rg_lru_summary_kernel(Scan scan) {
  const std::int64_t C = scan.args.C;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t chunk = blockIdx.y;
  if (c >= C) return;
  const Complex before = chunk == 0 ? at(scan.args.state, C, c) : Complex{0.0F, 0.0F};
  const Walk end = walk<false>(scan.args, c, chunk * scan.chunk, endOf(scan, chunk), before);
  put(scan.products + 2 * chunk * C, C, c, chunk == 0 ? before : end.product);
  put(scan.sums + 2 * chunk * C, C, c, end.state);
}

__global__ void __launch_bounds__(kThreads) complex_rg_lru_kernel(Scan scan) {
  const std::int64_t C = scan.args.C;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t chunk = blockIdx.y;
  if (c >= C) return;
  Complex state{};
  if (gridDim.y == 1) {
    state = at(scan.args.state, C, c);
  } else {
    state = chunk == 0 ? at(scan.products, C, c) : at(scan.sums, C, c);
    for (std::int64_t i = 1; i < chunk; ++i)
      state = at(scan.products + 2 * i * C, C, c) * state + at(scan.sums + 2 * i * C, C, c);
  }
  const std::int64_t end = endOf(scan, chunk);
  state = walk<true>(scan.args, c, chunk * scan.chunk, end, state).state;
  if (end == scan.args.T) put(scan.args.state, C, c, state);
}

}  // namespace

std::int64_t complexRgLruWorkspace(std::int64_t T, std::int64_t C) {
  return T <= kChunk ? 0 : 4 * C * ((T + kChunk - 1) / kChunk);
}

void complexRgLru(const ComplexRgLruArgs& args, float* workspace, Stream stream) {
  if (args.T == 0 || args.C == 0) return;
  Scan scan{args, args.T, nullptr, nullptr};
  if (workspace != nullptr && args.T > kChunk) {
    scan.chunk = kChunk;
    scan.products = workspace;
    scan.sums = workspace + complexRgLruWorkspace(args.T, args.C) / 2;
  }
  const dim3 grid(static_cast<unsigned>((args.C + kThreads - 1) / kThreads),
                  static_cast<unsigned>((args.T + scan.chunk - 1) / scan.chunk));
  if (grid.y > 1) launch(complex_rg_lru_summary_kernel, {grid, dim3(kThreads)}, stream, scan);
  launch(complex_rg_lru_kernel, {grid, dim3(kThreads)}, stream, scan);
}

}  // namespace eyrie::kernels::cuda
