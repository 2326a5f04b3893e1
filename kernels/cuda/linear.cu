// Matrix-vector products for up to 8 rows of x at a time: a warp computes two rows of W, so that each lane
// has 128 bytes of weights or more on the way and every x it loads is used twice. The norm costs no pass of
// its own: lanes sum the squares of the x they see, and the sum scales the result. The first weights are
// asked for while the kernel before, which makes x, still runs.
#include <cassert>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/stored.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kRows = kRowsOfWarp;
constexpr unsigned kThreads = kWarpsPerBlock * kWarp;

struct Input {
  const float* x;
  const float* normWeight;
  float eps;
  std::int64_t cols;
  int tokens;
};

// Elements a lane loads of a row at once. No more than four whatever their type: x is f32 in the first-level
// cache, and a warp reads 16 bytes a lane in half the time when they lie side by side.
constexpr int kFour = 4;

// Loads of each row on the way. One token leaves room for a few more, which matrices with few rows need:
// there are hardly more warps then than a card has schedulers.
template <class Stored, int kCount, int kTokens>
inline constexpr int kUnroll = kCount == 1
                                   ? 4
                                   : (kTokens == 1 ? 80 : 64) / (kCount * static_cast<int>(sizeof(Stored)));

// x' W^T of two rows and at most kTokens tokens, in every lane. kCount: elements a lane loads of a row at
// once.
template <class Stored, int kCount, int kTokens>
__device__ __forceinline__ void dotRows(const Input& in, const Stored* const (&rows)[kRows],
                                        float (&sums)[kRows][kTokens]) {
  float squares[kTokens] = {};
  const std::int64_t lane = threadIdx.x % kWarp;
  constexpr std::int64_t kStep = kWarp * kCount;
  constexpr int kLoads = kUnroll<Stored, kCount, kTokens>;
  for (std::int64_t first = lane * kCount; first < in.cols; first += kStep * kLoads) {
    Stored weights[kLoads][kRows][kCount];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      if (first + u * kStep >= in.cols) break;
#pragma unroll
      for (int r = 0; r < kRows; ++r) load(rows[r] + first + u * kStep, weights[u][r]);
    }
    if (first == lane * kCount) waitForPrior();
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const std::int64_t col = first + u * kStep;
      if (col >= in.cols) break;
      float scale[kCount];
      if (in.normWeight != nullptr) loadFloats(in.normWeight + col, scale);
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        if (!isThere<kTokens>(t, in.tokens)) break;
        float x[kCount];
        loadFloats(in.x + t * in.cols + col, x);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          if (in.normWeight != nullptr) {
            squares[t] += x[i] * x[i];
            x[i] *= 1.0F + scale[i];
          }
#pragma unroll
          for (int r = 0; r < kRows; ++r) sums[r][t] += x[i] * widened(weights[u][r][i]);
        }
      }
    }
  }
  waitForPrior();  // lanes that had nothing to load too, since they write
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    float scale = 1.0F;
    if (in.normWeight != nullptr)
      scale = 1.0F / sqrtf(warpSum(squares[t]) / static_cast<float>(in.cols) + in.eps);
#pragma unroll
    for (int r = 0; r < kRows; ++r) sums[r][t] = warpSum(sums[r][t]) * scale;
  }
}

template <class Stored, int kCount, int kTokens>
__global__ void __launch_bounds__(kThreads)
    projections_kernel(Input in, Outputs<const void*> outputs, bool accumulate) {
  letNextBegin();
  const auto at =
      rowPair(outputs, static_cast<std::int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp);
  if (at.row >= at.to.rows) return;
  const auto* weight = static_cast<const Stored*>(at.to.weight) + at.row * in.cols;
  const Stored* const rows[kRows] = {weight, at.row + 1 < at.to.rows ? weight + in.cols : weight};
  float sums[kRows][kTokens] = {};
  dotRows<Stored, kCount>(in, rows, sums);
  writePair(at, sums, in.tokens, accumulate);
}

template <class Stored, int kCount, int kTokens>
__global__ void __launch_bounds__(kThreads) gated_projection_kernel(Input in, GatedOutput<const void*> to) {
  letNextBegin();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp;
  if (row >= to.rows) return;
  const Stored* const rows[kRows] = {static_cast<const Stored*>(to.gate) + row * in.cols,
                                     static_cast<const Stored*>(to.up) + row * in.cols};
  float sums[kRows][kTokens] = {};
  dotRows<Stored, kCount>(in, rows, sums);
  writeGated(to, row, sums, in.tokens);
}

// Rows that cannot be read four elements at a time are those of tiny models: one token after the other will
// do.
template <int kCount>
inline constexpr int kTokenTile = kCount == 1 ? 1 : 8;

// Whether four elements can be read at once of every row of a matrix and of x.
bool rowsAreAligned(const MatrixView& weight, const float* x, const float* normWeight) {
  return isAligned(weight.data) && weight.cols % kFour == 0 && isAligned(x) && isAligned(normWeight);
}

// body(Stored{}, std::integral_constant<int, elements a load>) for weights of `dtype`.
template <class Body>
void withLoads(DType dtype, bool aligned, Body body) {
  withStored(dtype, [&](auto stored) {
    if (aligned) {
      body(stored, std::integral_constant<int, kFour>{});
    } else {
      body(stored, std::integral_constant<int, 1>{});
    }
  });
}

Shape warpShape(std::int64_t warps) {
  return early({dim3(static_cast<unsigned>((warps + kWarpsPerBlock - 1) / kWarpsPerBlock)), dim3(kThreads)});
}

}  // namespace

void projections(const ProjectionArgs& args, Stream stream) {
  const MatrixView& shape = args.outputs[0].weight;
  bool aligned = true;
  std::int64_t pairs = 0;
  for (const Projection& output : args.outputs) {
    if (output.weight.rows == 0) continue;
    assert(output.weight.cols == shape.cols && output.weight.dtype == shape.dtype);
    aligned = aligned && rowsAreAligned(output.weight, args.x, args.normWeight);
    pairs += pairsOf(output.weight.rows);
  }
  if (pairs == 0) return;
  withLoads(shape.dtype, aligned, [&](auto stored, auto count) {
    forTokenTiles<kTokenTile<count()>>(args.T, [&](auto room, std::int64_t t, int tokens) {
      Outputs<const void*> to{};
      for (std::size_t m = 0; m < args.outputs.size(); ++m) {
        const Projection& output = args.outputs[m];
        const std::int64_t rows = output.weight.rows;
        to.each[m] = {output.weight.data, output.bias, output.out + t * rows, rows};
      }
      const Input in{args.x + t * shape.cols, args.normWeight, args.eps, shape.cols, tokens};
      launch(projections_kernel<decltype(stored), count(), room()>, warpShape(pairs), stream, in, to,
             args.accumulate);
    });
  });
}

void gatedProjection(const GatedProjectionArgs& args, Stream stream) {
  const MatrixView& shape = args.gate;
  if (shape.rows == 0) return;
  assert(args.up.rows == shape.rows && args.up.cols == shape.cols && args.up.dtype == shape.dtype);
  const bool aligned =
      rowsAreAligned(args.gate, args.x, args.normWeight) && rowsAreAligned(args.up, args.x, args.normWeight);
  withLoads(shape.dtype, aligned, [&](auto stored, auto count) {
    forTokenTiles<kTokenTile<count()>>(args.T, [&](auto room, std::int64_t t, int tokens) {
      const Input in{args.x + t * shape.cols, args.normWeight, args.eps, shape.cols, tokens};
      const GatedOutput<const void*> to{
          args.gate.data,           args.up.data, args.gateBias, args.upBias, args.activation, shape.rows,
          args.out + t * shape.rows};
      launch(gated_projection_kernel<decltype(stored), count(), room()>, warpShape(shape.rows), stream, in,
             to);
    });
  });
}

void linear(const LinearArgs& args, Stream stream) {
  ProjectionArgs all;
  all.x = args.x;
  all.T = args.T;
  all.outputs[0] = {args.weight, args.bias, args.out};
  projections(all, stream);
}

}  // namespace eyrie::kernels::cuda
