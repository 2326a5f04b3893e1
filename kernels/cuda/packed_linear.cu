// Matrix-vector products with quantised weights. Each block first rounds x to 16-bit integers in shared
// memory, split into high and low bytes (value = 256 high + low), with a scale for every 32 columns; then
// each of its warps takes pairs of rows, 16 bytes of codes a lane, through four-byte integer dot products.
// Dequantising to f32 instead would need more instructions a weight than a card has time for at the speed of
// its memory.
#include <cassert>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/stored.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kRows = kRowsOfWarp;
constexpr int kUnroll = 2;
constexpr int kPairsOfWarp = 4;  // so that rounding x is little beside the rows
constexpr unsigned kThreads = kWarpsPerBlock * kWarp;
constexpr int kGroup = 32;                // columns of x that share a scale
constexpr float kLargestCode = 32512.0F;  // 127 * 256: the high byte stays within 127
constexpr std::size_t kMaxShared = 48 * 1024;

// Columns that share a scale of the weights: a constant, which device code may use where it may not call.
template <DType kType>
inline constexpr std::int64_t kScaleColumns = packedGroup(kType);

struct Input {
  const float* x;
  const float* normWeight;
  float eps;
  std::int64_t cols;
};

// A matrix on the card, with the lengths of its rows.
struct Codes {
  const unsigned char* codes;
  const std::uint16_t* scales;
  std::int64_t rowBytes;
  std::int64_t rowScales;
};

Codes codesOf(const PackedRows& weights) {
  return {static_cast<const unsigned char*>(weights.codes), weights.scales,
          packedRowBytes(weights.dtype, weights.cols), packedRowGroups(weights.dtype, weights.cols)};
}

// x of kTokens tokens as integers, in shared memory; `groups` groups of kGroup columns each.
struct Rounded {
  signed char* high;  // (kTokens, groups * kGroup)
  signed char* low;
  float* scale;  // (kTokens, groups)
  int* sum;      // (kTokens, groups): of the integers
};

__device__ __forceinline__ Rounded roundedAt(float* shared, std::int64_t groups, int tokens) {
  Rounded to{};
  to.high = reinterpret_cast<signed char*>(shared);
  to.low = to.high + tokens * groups * kGroup;
  to.scale = reinterpret_cast<float*>(to.low + tokens * groups * kGroup);
  to.sum = reinterpret_cast<int*>(to.scale + tokens * groups);
  return to;
}

inline std::size_t sharedBytesOf(std::int64_t groups, int tokens) {
  return static_cast<std::size_t>(groups) * static_cast<std::size_t>(tokens) * (2 * kGroup + 8);
}

// Fills `to`; every thread gets 1 / rms of each token's x, or 1 without a norm.
template <int kTokens>
__device__ __forceinline__ void roundInput(const Input& in, std::int64_t groups, const Rounded& to,
                                           float (&norm)[kTokens]) {
  EYRIE_SHARED(float, partials, [kWarpsPerBlock]);
  const int lane = static_cast<int>(threadIdx.x % kWarp);
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    float squares = 0;
    for (std::int64_t g = threadIdx.x / kWarp; g < groups; g += kWarpsPerBlock) {
      const std::int64_t col = g * kGroup + lane;
      float x = col < in.cols ? in.x[t * in.cols + col] : 0.0F;
      if (in.normWeight != nullptr && col < in.cols) {
        squares += x * x;
        x *= 1.0F + in.normWeight[col];
      }
      const bool finite = __all_sync(kAllLanes, fabsf(x) < INFINITY);  // also false for NaN
      const float largest = warpMax(fabsf(x));
      const float inverse = largest > 0.0F ? kLargestCode / largest : 0.0F;
      // The inverse of the tiniest numbers is infinite: they count as zeros.
      const int code = finite && inverse < INFINITY ? static_cast<int>(rintf(x * inverse)) : 0;
      const int high = (code + 128) >> 8;
      to.high[t * groups * kGroup + col] = static_cast<signed char>(high);
      to.low[t * groups * kGroup + col] = static_cast<signed char>(code - 256 * high);
      int sum = code;
#pragma unroll
      for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
      if (lane == 0) {
        to.scale[t * groups + g] = finite ? largest / kLargestCode : NAN;
        to.sum[t * groups + g] = sum;
      }
    }
    norm[t] = 1.0F;
    if (in.normWeight != nullptr)
      norm[t] = 1.0F / sqrtf(blockSum(squares, partials) / static_cast<float>(in.cols) + in.eps);
  }
  __syncthreads();
}

// Codes of one 16-byte load times the integers of x at column `col`.
template <DType kType>
__device__ __forceinline__ float dotLoad(const uint4& codes, const signed char* high, const signed char* low,
                                         int sum) {
  const unsigned words[4] = {codes.x, codes.y, codes.z, codes.w};
  const int* high4 = reinterpret_cast<const int*>(high);
  const int* low4 = reinterpret_cast<const int*>(low);
  int ofHigh = 0;
  int ofLow = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (kType == DType::int8) {
      ofHigh = __dp4a(static_cast<int>(words[i]), high4[i], ofHigh);
      ofLow = __dp4a(static_cast<int>(words[i]), low4[i], ofLow);
    } else {
      const int first = static_cast<int>(words[i] & 0x0f0f0f0fU);
      const int second = static_cast<int>(words[i] >> 4 & 0x0f0f0f0fU);
      ofHigh = __dp4a(second, high4[2 * i + 1], __dp4a(first, high4[2 * i], ofHigh));
      ofLow = __dp4a(second, low4[2 * i + 1], __dp4a(first, low4[2 * i], ofLow));
    }
  }
  const int all = 256 * ofHigh + ofLow;
  return static_cast<float>(kType == DType::int8 ? all : all - 8 * sum);
}

// Sums of two rows, in every lane.
template <DType kType, int kTokens>
__device__ __forceinline__ void dotRows(const Codes (&weights)[kRows], const std::int64_t (&rows)[kRows],
                                        const Rounded& x, std::int64_t groups, const float (&norm)[kTokens],
                                        float (&sums)[kRows][kTokens]) {
  constexpr std::int64_t kColumns = kType == DType::int8 ? 16 : 32;  // of a load
  const std::int64_t loads = weights[0].rowBytes / 16;
  for (std::int64_t first = threadIdx.x % kWarp; first < loads; first += kWarp * kUnroll) {
    uint4 codes[kUnroll][kRows];
    float scale[kUnroll][kRows];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const std::int64_t at = first + u * kWarp;
      if (at >= loads) break;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const Codes& w = weights[r];
        codes[u][r] = *reinterpret_cast<const uint4*>(w.codes + rows[r] * w.rowBytes + 16 * at);
        const unsigned bits = w.scales[rows[r] * w.rowScales + at * kColumns / kScaleColumns<kType>];
        scale[u][r] = __uint_as_float(bits << 16);
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const std::int64_t at = first + u * kWarp;
      if (at >= loads) break;
      const std::int64_t col = at * kColumns;
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const std::int64_t in = t * groups * kGroup + col;
        const std::int64_t group = t * groups + col / kGroup;
#pragma unroll
        for (int r = 0; r < kRows; ++r)
          sums[r][t] += scale[u][r] * x.scale[group] *
                        dotLoad<kType>(codes[u][r], x.high + in, x.low + in, x.sum[group]);
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) sums[r][t] = warpSum(sums[r][t]) * norm[t];
  }
}

__device__ __forceinline__ std::int64_t groupsOf(std::int64_t cols) {
  return (cols + kGroup - 1) / kGroup;
}

// The pairs a warp takes are kWarpsPerBlock apart.
__device__ __forceinline__ std::int64_t pairOf(int i) {
  return (static_cast<std::int64_t>(blockIdx.x) * kPairsOfWarp + i) * kWarpsPerBlock + threadIdx.x / kWarp;
}

template <DType kType, int kTokens>
__global__ void __launch_bounds__(kThreads)
    packed_projections_kernel(Input in, Outputs<Codes> outputs, bool accumulate) {
  EYRIE_DYNAMIC_SHARED(float, shared);
  const std::int64_t groups = groupsOf(in.cols);
  const Rounded x = roundedAt(shared, groups, kTokens);
  float norm[kTokens];
  roundInput(in, groups, x, norm);
  for (int i = 0; i < kPairsOfWarp; ++i) {
    const auto at = rowPair(outputs, pairOf(i));
    if (at.row >= at.to.rows) return;
    const Codes weights[kRows] = {at.to.weight, at.to.weight};
    const std::int64_t rows[kRows] = {at.row, at.row + 1 < at.to.rows ? at.row + 1 : at.row};
    float sums[kRows][kTokens] = {};
    dotRows<kType>(weights, rows, x, groups, norm, sums);
    writePair(at, sums, accumulate);
  }
}

template <DType kType, int kTokens>
__global__ void __launch_bounds__(kThreads) packed_gated_projection_kernel(Input in, GatedOutput<Codes> to) {
  EYRIE_DYNAMIC_SHARED(float, shared);
  const std::int64_t groups = groupsOf(in.cols);
  const Rounded x = roundedAt(shared, groups, kTokens);
  float norm[kTokens];
  roundInput(in, groups, x, norm);
  for (int i = 0; i < kPairsOfWarp; ++i) {
    const std::int64_t row = pairOf(i);
    if (row >= to.rows) return;
    const Codes weights[kRows] = {to.gate, to.up};
    const std::int64_t rows[kRows] = {row, row};
    float sums[kRows][kTokens] = {};
    dotRows<kType>(weights, rows, x, groups, norm, sums);
    writeGated(to, row, sums);
  }
}

Shape shapeOf(std::int64_t pairs, std::int64_t groups, int tokens) {
  constexpr std::int64_t kPairsOfBlock = kPairsOfWarp * kWarpsPerBlock;
  return {dim3(static_cast<unsigned>((pairs + kPairsOfBlock - 1) / kPairsOfBlock)), dim3(kThreads),
          sharedBytesOf(groups, tokens)};
}

// body(std::integral_constant<DType, type>, std::integral_constant<int, tokens>, firstToken): as many tokens
// at once, at most 4, as shared memory has room for.
template <class Body>
void forTiles(const PackedRows& shape, std::int64_t T, Body body) {
  const std::int64_t groups = (shape.cols + kGroup - 1) / kGroup;
  const auto ofType = [&](auto type) {
    const auto tile = [&](auto tokens, std::int64_t t) { body(type, tokens, t); };
    if (sharedBytesOf(groups, 4) <= kMaxShared) return forTokenTiles<4>(T, tile);
    if (sharedBytesOf(groups, 2) <= kMaxShared) return forTokenTiles<2>(T, tile);
    forTokenTiles<1>(T, tile);
  };
  if (shape.dtype == DType::int8) return ofType(std::integral_constant<DType, DType::int8>{});
  ofType(std::integral_constant<DType, DType::int4>{});
}

}  // namespace

void packedProjections(const PackedProjectionArgs& args, Stream stream) {
  const PackedRows& shape = args.outputs[0].weight;
  std::int64_t pairs = 0;
  for (const PackedProjection& output : args.outputs) {
    if (output.weight.rows == 0) continue;
    assert(output.weight.cols == shape.cols && output.weight.dtype == shape.dtype &&
           isAligned(output.weight.codes));
    pairs += pairsOf(output.weight.rows);
  }
  if (pairs == 0) return;
  forTiles(shape, args.T, [&](auto type, auto tokens, std::int64_t t) {
    Outputs<Codes> to{};
    for (std::size_t m = 0; m < args.outputs.size(); ++m) {
      const PackedProjection& output = args.outputs[m];
      to.each[m] = {codesOf(output.weight), output.bias, output.out + t * output.weight.rows,
                    output.weight.rows};
    }
    const Input in{args.x + t * shape.cols, args.normWeight, args.eps, shape.cols};
    launch(packed_projections_kernel<type(), tokens()>,
           shapeOf(pairs, (shape.cols + kGroup - 1) / kGroup, tokens()), stream, in, to, args.accumulate);
  });
}

void packedGatedProjection(const PackedGatedProjectionArgs& args, Stream stream) {
  const PackedRows& shape = args.gate;
  if (shape.rows == 0) return;
  assert(args.up.rows == shape.rows && args.up.cols == shape.cols && args.up.dtype == shape.dtype);
  forTiles(shape, args.T, [&](auto type, auto tokens, std::int64_t t) {
    const Input in{args.x + t * shape.cols, args.normWeight, args.eps, shape.cols};
    const GatedOutput<Codes> to{
        codesOf(args.gate), codesOf(args.up),         args.gateBias, args.upBias, args.activation,
        shape.rows,         args.out + t * shape.rows};
    launch(packed_gated_projection_kernel<type(), tokens()>,
           shapeOf(shape.rows, (shape.cols + kGroup - 1) / kGroup, tokens()), stream, in, to);
  });
}

}  // namespace eyrie::kernels::cuda
