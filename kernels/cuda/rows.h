// What the matrix-vector products share: which rows of which matrix a warp computes, and where sums go. For
// .cu files.
#pragma once

#include <cstdint>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/launch.h"

namespace eyrie::kernels::cuda {

inline constexpr int kRowsOfWarp = 2;
inline constexpr unsigned kWarpsPerBlock = 8;

// One matrix' results: (T, rows). Weight: what points to its weights.
template <class Weight>
struct Output {
  Weight weight;
  const float* bias;
  float* out;
  std::int64_t rows;
};

template <class Weight>
struct Outputs {
  Output<Weight> each[3];
};

template <class Weight>
struct RowPair {
  Output<Weight> to;
  std::int64_t row;  // the first of two, unless it is the last; beyond to.rows: nothing to do
};

// Pair number `pair` of all matrices' rows, each matrix' own pairs together.
template <class Weight>
__device__ __forceinline__ RowPair<Weight> rowPair(const Outputs<Weight>& outputs, std::int64_t pair) {
  RowPair<Weight> at{outputs.each[0], 0};
#pragma unroll
  for (int m = 1; m < 3; ++m) {
    const std::int64_t pairs = (at.to.rows + 1) / kRowsOfWarp;
    if (pair < pairs) break;
    pair -= pairs;
    at.to = outputs.each[m];
  }
  at.row = pair * kRowsOfWarp;
  return at;
}

// Whether a tile with room for kTokens tokens has this one: more than half of them are there (forTokenTiles),
// about which nobody need ask.
template <int kTokens>
__device__ __forceinline__ bool isThere(int token, int tokens) {
  return token <= kTokens / 2 || token < tokens;
}

// Writes (adds, where `accumulate`) two rows' sums, which every lane has; lane r writes row r.
template <class Weight, int kTokens>
__device__ __forceinline__ void writePair(const RowPair<Weight>& at,
                                          const float (&sums)[kRowsOfWarp][kTokens], int tokens,
                                          bool accumulate) {
  const std::int64_t r = threadIdx.x % kWarp;
  if (r >= kRowsOfWarp || at.row + r >= at.to.rows) return;
  const float bias = at.to.bias == nullptr ? 0.0F : at.to.bias[at.row + r];
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    if (!isThere<kTokens>(t, tokens)) break;
    float* out = at.to.out + t * at.to.rows + at.row + r;
    const float sum = (r == 0 ? sums[0][t] : sums[1][t]) + bias;
    *out = accumulate ? *out + sum : sum;
  }
}

// The results of two matrices of the same size, joined: activation(gate) * up.
template <class Weight>
struct GatedOutput {
  Weight gate;
  Weight up;
  const float* gateBias;
  const float* upBias;
  Activation activation;
  std::int64_t rows;
  float* out;  // (T, rows)
};

// Writes row `row` from sums of gate and up, which every lane has.
template <class Weight, int kTokens>
__device__ __forceinline__ void writeGated(const GatedOutput<Weight>& to, std::int64_t row,
                                           const float (&sums)[kRowsOfWarp][kTokens], int tokens) {
  if (threadIdx.x % kWarp != 0) return;
  const float gateBias = to.gateBias == nullptr ? 0.0F : to.gateBias[row];
  const float upBias = to.upBias == nullptr ? 0.0F : to.upBias[row];
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    if (!isThere<kTokens>(t, tokens)) break;
    to.out[t * to.rows + row] = activate(sums[0][t] + gateBias, to.activation) * (sums[1][t] + upBias);
  }
}

// body(std::integral_constant<int, room>, firstToken, tokens) over T tokens, at most kTokens at a time: whole
// tiles, and the rest in the smallest of 1, 2, 4, … that has room for it.
template <int kTokens, class Body>
void forTokenTiles(std::int64_t T, Body body, std::int64_t t = 0) {
  for (; T - t > kTokens / 2; t += kTokens)
    body(std::integral_constant<int, kTokens>{}, t, static_cast<int>(T - t < kTokens ? T - t : kTokens));
  if constexpr (kTokens > 1) forTokenTiles<kTokens / 2>(T, body, t);
}

inline std::int64_t pairsOf(std::int64_t rows) {
  return (rows + 1) / kRowsOfWarp;
}

}  // namespace eyrie::kernels::cuda
