// Products of many rows by our own kernel, where cuBLAS is not: a block computes 128 tokens by 64 outputs,
// 64 bytes of each row of x and of the weights at a time, copied into shared memory two steps ahead.
#include <cassert>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/tiles.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kTokens = 128;
constexpr int kOutputs = 64;
constexpr int kWarps = 4;  // two by two, each 64 tokens by 32 outputs
constexpr int kThreads = kWarps * kWarp;
constexpr int kTilesDown = kTokens / 2 / kTile;
constexpr int kTilesAcross = kOutputs / 2 / kTile;
constexpr int kStages = 3;

// Sizes in elements of T. Rows in shared memory are 16 bytes longer than what they hold, so that those of a
// tile lie in different banks.
template <class T>
struct Staged {
  static constexpr int kChunk = 16 / sizeof(T);
  static constexpr int kDepth = 4 * kChunk;
  static constexpr int kStride = kDepth + kChunk;
  static constexpr int kColumnStride = kOutputs + kChunk;  // of weights that lie by columns
  static constexpr int kLeft = kTokens * kStride;
  static constexpr int kRight =
      kOutputs * kStride > kDepth* kColumnStride ? kOutputs* kStride : kDepth* kColumnStride;
  static constexpr int kStage = kLeft + kRight;
  static constexpr int kBytes = kStages * kStage * static_cast<int>(sizeof(T));
};

// A matrix to stage from; `aligned`: its rows can be read 16 bytes at a time.
template <class T>
struct Source {
  const T* at;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t stride;
  bool aligned;
};

// 16 bytes from (row, col) on, zeros beyond the matrix.
template <class T>
__device__ __forceinline__ void stageChunk(const Source<T>& from, std::int64_t row, std::int64_t col, T* to) {
  const T* const source = from.at + row * from.stride + col;
  const bool within = row < from.rows && col < from.cols;
  if (from.aligned && within) return copyAsync16(to, source);
#pragma unroll
  for (int i = 0; i < Staged<T>::kChunk; ++i) to[i] = within && col + i < from.cols ? source[i] : T{};
}

// kRows rows of kCols elements from (row, col) on.
template <int kRows, int kCols, int kStride, class T>
__device__ __forceinline__ void stage(const Source<T>& from, std::int64_t row, std::int64_t col, T* to) {
  constexpr int kChunk = Staged<T>::kChunk;
  constexpr int kAcross = kCols / kChunk;
#pragma unroll
  for (int at = static_cast<int>(threadIdx.x); at < kRows * kAcross; at += kThreads) {
    const int r = at / kAcross;
    const int c = at % kAcross * kChunk;
    stageChunk(from, row + r, col + c, to + r * kStride + c);
  }
}

// What a block multiplies: its block of x and of the weights, and where in them it begins.
template <class T>
struct Operands {
  Source<T> x, weight;
  std::int64_t token, output;
};

template <bool kByColumns, class T>
__device__ __forceinline__ void stageStep(const Operands<T>& in, std::int64_t k, T* to) {
  using S = Staged<T>;
  stage<kTokens, S::kDepth, S::kStride>(in.x, in.token, k, to);
  if constexpr (kByColumns) {
    stage<S::kDepth, kOutputs, S::kColumnStride>(in.weight, k, in.output, to + S::kLeft);
  } else {
    stage<kOutputs, S::kDepth, S::kStride>(in.weight, in.output, k, to + S::kLeft);
  }
}

template <class T>
using Sums = typename Tiles<T>::Sum[kTilesDown][kTilesAcross];

// Adds one stage's products to the warp's sums.
template <bool kByColumns, class T>
__device__ __forceinline__ void multiplyStage(const T* stage, Sums<T>& sums) {
  using S = Staged<T>;
  using Right = typename Tiles<T>::template Right<kByColumns>;
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const T* const left = stage + warp / 2 * kTilesDown * kTile * S::kStride;
  const int firstOutput = warp % 2 * kTilesAcross * kTile;
  const T* const right = stage + S::kLeft + firstOutput * (kByColumns ? 1 : S::kStride);
#pragma unroll
  for (int k = 0; k < S::kDepth; k += kTile) {
    Right factors[kTilesAcross];
#pragma unroll
    for (int n = 0; n < kTilesAcross; ++n) {
      if constexpr (kByColumns) {
        Tiles<T>::load(factors[n], right + k * S::kColumnStride + n * kTile, S::kColumnStride);
      } else {
        Tiles<T>::load(factors[n], right + n * kTile * S::kStride + k, S::kStride);
      }
    }
#pragma unroll
    for (int t = 0; t < kTilesDown; ++t) {
      typename Tiles<T>::Left rows;
      Tiles<T>::load(rows, left + t * kTile * S::kStride + k, S::kStride);
#pragma unroll
      for (int n = 0; n < kTilesAcross; ++n) Tiles<T>::multiply(sums[t][n], rows, factors[n]);
    }
  }
}

__device__ __forceinline__ void put(const Product& p, std::int64_t at, float value) {
  if (p.outType == DType::bf16) {
    static_cast<__nv_bfloat16*>(p.out)[at] = __float2bfloat16(value);
  } else {
    float* const out = static_cast<float*>(p.out) + at;
    *out = p.accumulate ? *out + value : value;
  }
}

// A tile's sums to (token, output) of block `block`.
template <class T>
__device__ __forceinline__ void writeTile(const Product& p, const typename Tiles<T>::Sum& sum,
                                          std::int64_t token, std::int64_t output, std::int64_t block) {
#pragma unroll
  for (int i = 0; i < kElementsOfLane; ++i) {
    const std::int64_t t = token + Tiles<T>::row(i);
    const std::int64_t n = output + Tiles<T>::column(i);
    if (t >= p.T || n >= p.rows) continue;
    const std::int64_t column = block * p.rows + n;
    put(p, t * p.outStride + column, sum.x[i] + (p.bias == nullptr ? 0.0F : p.bias[column]));
  }
}

template <class T, bool kByColumns>
__global__ void __launch_bounds__(kThreads) matmul_kernel(Product p, bool xAligned, bool weightAligned) {
  using S = Staged<T>;
  EYRIE_DYNAMIC_SHARED(T, shared);
  const std::int64_t block = blockIdx.z;
  const Operands<T> in{
      {static_cast<const T*>(p.x) + block * p.cols, p.T, p.cols, p.xStride, xAligned},
      {static_cast<const T*>(p.weight) + block * p.rows * p.cols, kByColumns ? p.cols : p.rows,
       kByColumns ? p.rows : p.cols, kByColumns ? p.rows : p.cols, weightAligned},
      static_cast<std::int64_t>(blockIdx.x) * kTokens,
      static_cast<std::int64_t>(blockIdx.y) * kOutputs};
  Sums<T> sums;
  const std::int64_t steps = (p.cols + S::kDepth - 1) / S::kDepth;
  const auto stageOf = [&](std::int64_t step) { return shared + step % kStages * S::kStage; };
  for (std::int64_t step = 0; step < kStages - 1; ++step) {
    if (step < steps) stageStep<kByColumns>(in, step * S::kDepth, stageOf(step));
    commitCopies();
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    waitForCopies<kStages - 2>();
    __syncthreads();  // the step is there, and nobody reads the one before it any more
    const std::int64_t ahead = step + kStages - 1;
    if (ahead < steps) stageStep<kByColumns>(in, ahead * S::kDepth, stageOf(ahead));
    commitCopies();
    multiplyStage<kByColumns>(stageOf(step), sums);
  }
  waitForCopies<0>();

  const int warp = static_cast<int>(threadIdx.x / kWarp);
#pragma unroll
  for (int t = 0; t < kTilesDown; ++t)
#pragma unroll
    for (int n = 0; n < kTilesAcross; ++n)
      writeTile<T>(p, sums[t][n], in.token + (warp / 2 * kTilesDown + t) * kTile,
                   in.output + (warp % 2 * kTilesAcross + n) * kTile, block);
}

// Whether 16 bytes can be read at each multiple of 16 bytes of each row of each block.
bool rowsAreAligned(const void* at, std::int64_t cols, std::int64_t stride, DType dtype) {
  const auto bytes = static_cast<std::int64_t>(dtypeSize(dtype));
  return isAligned(at) && cols * bytes % 16 == 0 && stride * bytes % 16 == 0;
}

template <class T>
void multiplyOurselves(const Product& p, Stream stream) {
  const auto count = [](std::int64_t size, int tile) {
    return static_cast<unsigned>((size + tile - 1) / tile);
  };
  const Shape shape{dim3(count(p.T, kTokens), count(p.rows, kOutputs), static_cast<unsigned>(p.blocks)),
                    dim3(kThreads), Staged<T>::kBytes};
  const bool xAligned = rowsAreAligned(p.x, p.cols, p.xStride, p.dtype);
  const std::int64_t weightCols = p.byColumns ? p.rows : p.cols;
  const bool weightAligned = rowsAreAligned(p.weight, weightCols, weightCols, p.dtype);
  launch(p.byColumns ? matmul_kernel<T, true> : matmul_kernel<T, false>, shape, stream, p, xAligned,
         weightAligned);
}

}  // namespace

void multiply(const Product& product, Blas* blas, Stream stream) {
  assert(!isPacked(product.dtype) &&
         (product.outType == DType::f32 || (product.dtype == DType::bf16 && !product.accumulate)));
  if (product.T == 0 || product.rows == 0 || product.blocks == 0) return;
  if (blas != nullptr && blas->product(product, stream)) return;
  withStored(product.dtype, [&](auto stored) { multiplyOurselves<decltype(stored)>(product, stream); });
}

void matmul(const MatmulArgs& args, Blas* blas, Stream stream) {
  const MatrixView& w = args.weight;
  multiply({w.dtype, args.x, w.data, args.bias, args.out, args.outType, args.T, w.rows, w.cols, w.cols,
            w.rows, 1, false, args.accumulate},
           blas, stream);
}

void blockMatmul(const BlockMatmulArgs& args, Blas* blas, Stream stream) {
  const std::int64_t N = args.weight.cols;
  multiply({args.weight.dtype, args.x, args.weight.data, args.bias, args.out, DType::f32, args.T, N, args.B,
            args.G * args.B, args.G * N, args.G, true, false},
           blas, stream);
}

}  // namespace eyrie::kernels::cuda
