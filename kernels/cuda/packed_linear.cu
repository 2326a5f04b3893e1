// Matrix-vector products with quantised weights. Each block first rounds x to 16-bit integers in shared
// memory, split into high and low bytes (value = 256 high + low), with a scale for every 32 columns; then
// each of its warps takes pairs of rows, 16 bytes of codes a lane, through four-byte integer dot products.
// Dequantising to f32 instead would need more instructions a weight than a card has time for at the speed of
// its memory. The first codes are asked for before x is rounded.
#include <algorithm>
#include <cassert>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/rounded_input.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kRows = kRowsOfWarp;
constexpr std::int64_t kMostPairs = 4;  // of a warp: rounding x is then little beside the rows
constexpr unsigned kThreads = kWarpsPerBlock * kWarp;
static_assert(kThreads == kRoundingThreads);
constexpr std::size_t kMaxShared = 48 * 1024;

// Loads of each row on the way: more where there is one token, as matrices with few rows need.
template <int kTokens>
inline constexpr int kUnroll = kTokens == 1 ? 4 : 2;

// Columns that share a scale of the weights: a constant, which device code may use where it may not call.
template <DType kType>
inline constexpr std::int64_t kScaleColumns = packedGroup(kType);

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

// Two rows, each of a matrix; without loads there is nothing to do.
struct Pair {
  const unsigned char* codes[kRows];
  const std::uint16_t* scales[kRows];
  int loads;  // of 16 bytes, in a row
};

__device__ __forceinline__ Pair pairOf(const Codes& a, const Codes& b, std::int64_t rowOfA,
                                       std::int64_t rowOfB) {
  return {{a.codes + rowOfA * a.rowBytes, b.codes + rowOfB * b.rowBytes},
          {a.scales + rowOfA * a.rowScales, b.scales + rowOfB * b.rowScales},
          static_cast<int>(a.rowBytes / 16)};
}

// What a lane has loaded of a pair.
template <int kTokens>
struct Batch {
  uint4 codes[kUnroll<kTokens>][kRows];
  unsigned scales[kUnroll<kTokens>][kRows];  // bf16
};

template <DType kType, int kTokens>
__device__ __forceinline__ void fetch(const Pair& pair, int first, Batch<kTokens>& batch) {
  constexpr int kColumns = kType == DType::int8 ? 16 : 32;  // of a load
#pragma unroll
  for (int u = 0; u < kUnroll<kTokens>; ++u) {
    const int at = first + u * kWarp;
    if (at >= pair.loads) break;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      batch.codes[u][r] = *reinterpret_cast<const uint4*>(pair.codes[r] + 16 * at);
      batch.scales[u][r] = pair.scales[r][at * kColumns / kScaleColumns<kType>];
    }
  }
}

// Four words of codes times the integers of one piece of x, added to the sums of high and of low bytes.
__device__ __forceinline__ void dotPiece(const unsigned (&words)[4], const int4& high, const int4& low,
                                         int& ofHigh, int& ofLow) {
  const int highs[4] = {high.x, high.y, high.z, high.w};
  const int lows[4] = {low.x, low.y, low.z, low.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    ofHigh = __dp4a(static_cast<int>(words[i]), highs[i], ofHigh);
    ofLow = __dp4a(static_cast<int>(words[i]), lows[i], ofLow);
  }
}

// Codes of one 16-byte load times what x has at token * groups + group: one piece of it (int8) or two.
template <DType kType>
__device__ __forceinline__ float dotLoad(const uint4& codes, const Rounded& x, int token, int groups,
                                         int at) {
  const int row = token * groups * (kGroup / kPiece);
  int ofHigh = 0;
  int ofLow = 0;
  if constexpr (kType == DType::int8) {
    const unsigned words[4] = {codes.x, codes.y, codes.z, codes.w};
    dotPiece(words, x.high[row + at], x.low[row + at], ofHigh, ofLow);
    return static_cast<float>(256 * ofHigh + ofLow);
  } else {  // a word has four columns in its low halves, the next four in its high ones
    constexpr unsigned kLowHalves = 0x0f0f0f0fU;
    const unsigned even[4] = {codes.x & kLowHalves, codes.x >> 4 & kLowHalves, codes.y & kLowHalves,
                              codes.y >> 4 & kLowHalves};
    const unsigned odd[4] = {codes.z & kLowHalves, codes.z >> 4 & kLowHalves, codes.w & kLowHalves,
                             codes.w >> 4 & kLowHalves};
    dotPiece(even, x.high[row + at], x.low[row + at], ofHigh, ofLow);
    dotPiece(odd, x.high[row + groups + at], x.low[row + groups + at], ofHigh, ofLow);
    return static_cast<float>(256 * ofHigh + ofLow - 8 * x.sum[token * groups + at]);
  }
}

// Sums of a lane's columns of two rows. `batch` has the first loads already.
template <DType kType, int kTokens>
__device__ __forceinline__ void dotRows(const Pair& pair, Batch<kTokens>& batch, const Rounded& x, int groups,
                                        int tokens, float (&sums)[kRows][kTokens]) {
  constexpr int kColumns = kType == DType::int8 ? 16 : 32;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  for (int first = lane; first < pair.loads; first += kWarp * kUnroll<kTokens>) {
    if (first != lane) fetch<kType>(pair, first, batch);
#pragma unroll
    for (int u = 0; u < kUnroll<kTokens>; ++u) {
      const int at = first + u * kWarp;
      if (at >= pair.loads) break;
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        if (!isThere<kTokens>(t, tokens)) break;
        const float scale = x.scale[t * groups + at * kColumns / kGroup];
#pragma unroll
        for (int r = 0; r < kRows; ++r)
          sums[r][t] += __uint_as_float(batch.scales[u][r] << 16) * scale *
                        dotLoad<kType>(batch.codes[u][r], x, t, groups, at);
      }
    }
  }
}

template <int kTokens>
__device__ __forceinline__ void joinLanes(const float* norms, int tokens, float (&sums)[kRows][kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    if (!isThere<kTokens>(t, tokens)) break;
#pragma unroll
    for (int r = 0; r < kRows; ++r) sums[r][t] = warpSum(sums[r][t]) * norms[t];
  }
}

// The pairs a warp takes are kWarpsPerBlock apart.
__device__ __forceinline__ std::int64_t pairAt(int i, int pairs) {
  return (static_cast<std::int64_t>(blockIdx.x) * pairs + i) * kWarpsPerBlock + threadIdx.x / kWarp;
}

// All `pairs` pairs of this warp. rowsOf(i): the i-th pair; write(i, sums).
template <DType kType, int kTokens, class RowsOf, class Write>
__device__ __forceinline__ void multiplyPairs(const RoundedInput& in, int pairs, const RowsOf& rowsOf,
                                              const Write& write) {
  EYRIE_DYNAMIC_SHARED(int4, shared);
  EYRIE_SHARED(float, norms, [kTokens]);
  letNextBegin();
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int groups = groupsOf(in.cols);
  const Rounded x = roundedAt(shared, groups, kTokens);
  Batch<kTokens> batch;
  Pair pair = rowsOf(0);
  fetch<kType>(pair, lane, batch);
  waitForPrior();
  roundInput<kType, kTokens>(in, groups, x, norms);
  for (int i = 0; i < pairs && pair.loads > 0; ++i) {
    float sums[kRows][kTokens] = {};
    dotRows<kType>(pair, batch, x, groups, in.tokens, sums);
    pair = i + 1 < pairs ? rowsOf(i + 1) : Pair{};
    fetch<kType>(pair, lane, batch);
    joinLanes(norms, in.tokens, sums);
    write(i, sums);
  }
}

template <DType kType, int kTokens>
__global__ void __launch_bounds__(kThreads)
    packed_projections_kernel(RoundedInput in, Outputs<Codes> outputs, int pairs, bool accumulate) {
  const auto rowsOf = [&](int i) {
    const auto at = rowPair(outputs, pairAt(i, pairs));
    if (at.row >= at.to.rows) return Pair{};
    const std::int64_t second = at.row + 1 < at.to.rows ? at.row + 1 : at.row;
    return pairOf(at.to.weight, at.to.weight, at.row, second);
  };
  multiplyPairs<kType, kTokens>(in, pairs, rowsOf, [&](int i, const auto& sums) {
    writePair(rowPair(outputs, pairAt(i, pairs)), sums, in.tokens, accumulate);
  });
}

template <DType kType, int kTokens>
__global__ void __launch_bounds__(kThreads)
    packed_gated_projection_kernel(RoundedInput in, GatedOutput<Codes> to, int pairs) {
  const auto rowsOf = [&](int i) {
    const std::int64_t row = pairAt(i, pairs);
    return row < to.rows ? pairOf(to.gate, to.up, row, row) : Pair{};
  };
  multiplyPairs<kType, kTokens>(
      in, pairs, rowsOf, [&](int i, const auto& sums) { writeGated(to, pairAt(i, pairs), sums, in.tokens); });
}

// Pairs of a warp: several, unless that leaves multiprocessors without a block.
std::int64_t pairsOfWarp(std::int64_t pairs) {
  constexpr std::int64_t kBlocksOfProcessor = 2;
  const std::int64_t all = kBlocksOfProcessor * processors() * kWarpsPerBlock;
  return std::clamp<std::int64_t>((pairs + all - 1) / all, 1, kMostPairs);
}

Shape shapeOf(std::int64_t pairs, std::int64_t ofWarp, std::int64_t groups, int tokens) {
  const std::int64_t ofBlock = ofWarp * kWarpsPerBlock;
  return early({dim3(static_cast<unsigned>((pairs + ofBlock - 1) / ofBlock)), dim3(kThreads),
                sharedBytesOf(groups, tokens)});
}

// body(std::integral_constant<DType, type>, std::integral_constant<int, room>, firstToken, tokens): as many
// tokens at once, at most 4, as shared memory has room for.
template <class Body>
void forTiles(const PackedRows& shape, std::int64_t T, Body body) {
  const std::int64_t groups = (shape.cols + kGroup - 1) / kGroup;
  const auto ofType = [&](auto type) {
    const auto tile = [&](auto room, std::int64_t t, int tokens) { body(type, room, t, tokens); };
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
  forTiles(shape, args.T, [&](auto type, auto room, std::int64_t t, int tokens) {
    Outputs<Codes> to{};
    for (std::size_t m = 0; m < args.outputs.size(); ++m) {
      const PackedProjection& output = args.outputs[m];
      to.each[m] = {codesOf(output.weight), output.bias, output.out + t * output.weight.rows,
                    output.weight.rows};
    }
    const std::int64_t ofWarp = pairsOfWarp(pairs);
    launch(packed_projections_kernel<type(), room()>,
           shapeOf(pairs, ofWarp, (shape.cols + kGroup - 1) / kGroup, room()), stream,
           inputOf(args.x + t * shape.cols, args.normWeight, args.eps, shape.cols, tokens), to,
           static_cast<int>(ofWarp), args.accumulate);
  });
}

void packedGatedProjection(const PackedGatedProjectionArgs& args, Stream stream) {
  const PackedRows& shape = args.gate;
  if (shape.rows == 0) return;
  assert(args.up.rows == shape.rows && args.up.cols == shape.cols && args.up.dtype == shape.dtype);
  forTiles(shape, args.T, [&](auto type, auto room, std::int64_t t, int tokens) {
    const GatedOutput<Codes> to{
        codesOf(args.gate), codesOf(args.up),         args.gateBias, args.upBias, args.activation,
        shape.rows,         args.out + t * shape.rows};
    const std::int64_t ofWarp = pairsOfWarp(shape.rows);
    launch(packed_gated_projection_kernel<type(), room()>,
           shapeOf(shape.rows, ofWarp, (shape.cols + kGroup - 1) / kGroup, room()), stream,
           inputOf(args.x + t * shape.cols, args.normWeight, args.eps, shape.cols, tokens), to,
           static_cast<int>(ofWarp));
  });
}

}  // namespace eyrie::kernels::cuda
