// Products of many rows with quantised weights: slices of the weights become bf16, then a product of those.
#include <algorithm>
#include <cassert>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kTogether = 8;  // bf16 of one store
constexpr std::int64_t kSliceBytes = std::int64_t{32} << 20;
constexpr std::int64_t kSliceRows = 128;  // slices are multiples of it where they can be

// A constant, which device code may use where it may not call.
template <DType kType>
inline constexpr std::int64_t kScaleColumns = packedGroup(kType);

// Number `i` of the codes in 16 bytes.
template <DType kType>
__device__ __forceinline__ int codeOf(const unsigned (&words)[4], int i) {
  if constexpr (kType == DType::int8) {
    return static_cast<signed char>(words[i / 4] >> 8 * (i % 4) & 0xffU);
  } else {  // column b of a word's eight is the low half of byte b, 4 + b the high one
    return static_cast<int>(words[i / 8] >> (8 * (i % 4) + i % 8 / 4 * 4) & 0xfU) - 8;
  }
}

// 16 bytes of codes to 16 (int8) or 32 (int4) bf16: a thread each.
template <DType kType>
__global__ void __launch_bounds__(kThreads)
    widen_rows_kernel(PackedRows from, std::int64_t rowBytes, std::int64_t rowScales, std::int64_t loads,
                      __nv_bfloat16* to) {
  constexpr int kColumns = kType == DType::int8 ? 16 : 32;
  const std::int64_t load = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (load >= loads) return;
  const std::int64_t row = load / (rowBytes / 16);
  const std::int64_t col = load % (rowBytes / 16) * kColumns;
  const uint4 codes = static_cast<const uint4*>(from.codes)[load];
  const unsigned words[4] = {codes.x, codes.y, codes.z, codes.w};
  const unsigned scaleBits = from.scales[row * rowScales + col / kScaleColumns<kType>];
  const float scale = __uint_as_float(scaleBits << 16);
  __nv_bfloat16* const out = to + row * from.cols + col;
#pragma unroll
  for (int first = 0; first < kColumns; first += kTogether) {
    __nv_bfloat16 weights[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i)
      weights[i] = __float2bfloat16(static_cast<float>(codeOf<kType>(words, first + i)) * scale);
    if (from.cols % kTogether == 0) {
      if (col + first < from.cols) store(weights, out + first);
    } else {
#pragma unroll
      for (int i = 0; i < kTogether; ++i)
        if (col + first + i < from.cols) out[first + i] = weights[i];
    }
  }
}

void widenRows(const PackedRows& from, __nv_bfloat16* to, Stream stream) {
  const std::int64_t rowBytes = packedRowBytes(from.dtype, from.cols);
  const std::int64_t loads = from.rows * rowBytes / 16;
  const Shape shape{dim3(static_cast<unsigned>((loads + kThreads - 1) / kThreads)), dim3(kThreads)};
  launch(from.dtype == DType::int8 ? widen_rows_kernel<DType::int8> : widen_rows_kernel<DType::int4>, shape,
         stream, from, rowBytes, packedRowGroups(from.dtype, from.cols), loads, to);
}

std::int64_t sliceRows(std::int64_t rows, std::int64_t cols) {
  const std::int64_t most = kSliceBytes / (2 * std::max<std::int64_t>(cols, 1));
  return std::min(rows, most > kSliceRows ? most / kSliceRows * kSliceRows : std::max<std::int64_t>(most, 1));
}

PackedRows slice(const PackedRows& all, std::int64_t first, std::int64_t rows) {
  PackedRows part = all;
  part.codes = static_cast<const std::byte*>(all.codes) + first * packedRowBytes(all.dtype, all.cols);
  part.scales = all.scales + first * packedRowGroups(all.dtype, all.cols);
  part.rows = rows;
  return part;
}

}  // namespace

std::int64_t packedMatmulWorkspace(std::int64_t rows, std::int64_t cols) {
  return 2 * sliceRows(rows, cols) * cols;
}

void packedMatmul(const PackedMatmulArgs& args, Blas* blas, Stream stream) {
  const PackedRows& w = args.weight;
  assert(isPacked(w.dtype) && isAligned(w.codes) && isAligned(args.workspace));
  if (args.T == 0 || w.rows == 0 || w.cols == 0) return;
  auto* const weights = static_cast<__nv_bfloat16*>(args.workspace);
  const auto outBytes = static_cast<std::int64_t>(dtypeSize(args.outType));
  const std::int64_t most = sliceRows(w.rows, w.cols);
  for (std::int64_t first = 0; first < w.rows; first += most) {
    const PackedRows part = slice(w, first, std::min(most, w.rows - first));
    widenRows(part, weights, stream);
    multiply({DType::bf16, args.x, weights, args.bias == nullptr ? nullptr : args.bias + first,
              static_cast<std::byte*>(args.out) + first * outBytes, args.outType, args.T, part.rows, w.cols,
              w.cols, w.rows, 1, false, args.accumulate},
             blas, stream);
  }
}

}  // namespace eyrie::kernels::cuda
