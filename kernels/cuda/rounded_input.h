// What the products with quantised weights read: x, RMS-normed first where there is a norm weight, as 16-bit
// integers in shared memory. For .cu files.
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/stored.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {

inline constexpr unsigned kRoundingWarps = 8;  // of a block
inline constexpr unsigned kRoundingThreads = kRoundingWarps * kWarp;
inline constexpr int kGroup = 32;  // columns of x that share a scale
inline constexpr int kPiece = 16;  // columns of x that are read at once
inline constexpr int kQuad = 4;    // and that a thread rounds at once
inline constexpr int kQuadsOfGroup = kGroup / kQuad;
inline constexpr float kLargestCode = 32512.0F;  // 127 * 256: the high byte stays within 127

struct RoundedInput {
  const float* x;
  const float* normWeight;
  float eps;
  std::int64_t cols;
  int tokens;
  bool aligned;  // x and norm can be read four columns at a time
};

// x of up to kTokens tokens as integers, in shared memory; `groups` groups of kGroup columns each. Columns
// lie in pieces, in the order in which a warp reads them at once: for int4, of which a lane's codes are two
// pieces wide, the even ones first.
struct Rounded {
  int4* high;  // (kTokens, groups * kGroup / kPiece)
  int4* low;
  float* scale;  // (kTokens, groups)
  int* sum;      // (kTokens, groups): of the integers
};

template <DType kType>
__device__ __forceinline__ int placeOf(int piece, int groups) {
  return kType == DType::int8 ? piece : piece % 2 * groups + piece / 2;
}

__device__ __forceinline__ Rounded roundedAt(int4* shared, int groups, int tokens) {
  const int pieces = tokens * groups * (kGroup / kPiece);
  Rounded to{};
  to.high = shared;
  to.low = to.high + pieces;
  to.scale = reinterpret_cast<float*>(to.low + pieces);
  to.sum = reinterpret_cast<int*>(to.scale + tokens * groups);
  return to;
}

inline std::size_t sharedBytesOf(std::int64_t groups, int tokens) {
  return static_cast<std::size_t>(groups) * static_cast<std::size_t>(tokens) * (2 * kGroup + 8);
}

// Zeros beyond the columns.
__device__ __forceinline__ void loadQuad(const float* from, std::int64_t col, const RoundedInput& in,
                                         float (&to)[kQuad]) {
  if (in.aligned && col < in.cols) return loadFloats(from + col, to);
#pragma unroll
  for (int i = 0; i < kQuad; ++i) to[i] = col + i < in.cols ? from[col + i] : 0.0F;
}

__device__ __forceinline__ unsigned asBytes(const int (&values)[kQuad]) {
  unsigned bytes = 0;
#pragma unroll
  for (int i = 0; i < kQuad; ++i) bytes |= (static_cast<unsigned>(values[i]) & 0xffU) << 8 * i;
  return bytes;
}

// One quad, with the seven lanes that have the others of its group.
template <DType kType>
__device__ __forceinline__ void roundQuad(const float (&x)[kQuad], std::int64_t quad, int token, int groups,
                                          const Rounded& to) {
  float largest = 0;
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    const float size = fabsf(x[i]);
    largest = fmaxf(largest, size < INFINITY ? size : INFINITY);  // NaN counts as infinite
  }
#pragma unroll
  for (int step = kQuadsOfGroup / 2; step > 0; step /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
  // The inverse of the tiniest numbers is infinite: they count as zeros.
  const float inverse = largest > 0.0F && largest < INFINITY ? kLargestCode / largest : 0.0F;
  int high[kQuad];
  int low[kQuad];
  int sum = 0;
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    const int code = inverse > 0.0F && inverse < INFINITY ? static_cast<int>(rintf(x[i] * inverse)) : 0;
    high[i] = (code + 128) >> 8;
    low[i] = code - 256 * high[i];
    sum += code;
  }
#pragma unroll
  for (int step = kQuadsOfGroup / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  const int group = static_cast<int>(quad / kQuadsOfGroup);
  if (group >= groups) return;
  constexpr int kQuadsOfPiece = kPiece / kQuad;
  const int piece = static_cast<int>(quad / kQuadsOfPiece);
  const int place = token * groups * (kGroup / kPiece) + placeOf<kType>(piece, groups);
  const int word = place * kQuadsOfPiece + static_cast<int>(quad % kQuadsOfPiece);
  reinterpret_cast<unsigned*>(to.high)[word] = asBytes(high);
  reinterpret_cast<unsigned*>(to.low)[word] = asBytes(low);
  if (quad % kQuadsOfGroup != 0) return;
  to.scale[token * groups + group] = largest < INFINITY ? largest / kLargestCode : NAN;
  to.sum[token * groups + group] = sum;
}

// Fills `to`, and `norms` (kTokens), in shared memory, with 1 / rms of each token's x, or 1 without a norm.
template <DType kType, int kTokens>
__device__ __forceinline__ void roundInput(const RoundedInput& in, int groups, const Rounded& to,
                                           float* norms) {
  constexpr int kAhead = 4;  // quads of a thread on the way
  constexpr std::int64_t kStep = kRoundingThreads;
  EYRIE_SHARED(float, partials, [kRoundingWarps]);
  const bool normed = in.normWeight != nullptr;
  const std::int64_t quads = std::int64_t{groups} * kQuadsOfGroup;
#pragma unroll 1
  for (int t = 0; t < kTokens && isThere<kTokens>(t, in.tokens); ++t) {
    float squares = 0;
    // A warp's lanes go on together, since groups are theirs together.
    for (std::int64_t first = threadIdx.x; first / kWarp * kWarp < quads; first += kAhead * kStep) {
      float x[kAhead][kQuad];
      float scale[kAhead][kQuad];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const std::int64_t col = (first + i * kStep) * kQuad;
        loadQuad(in.x + t * in.cols, col, in, x[i]);
        if (normed) loadQuad(in.normWeight, col, in, scale[i]);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const std::int64_t quad = first + i * kStep;
        if (quad / kWarp * kWarp >= quads) break;
#pragma unroll
        for (int j = 0; normed && j < kQuad; ++j) {
          squares += x[i][j] * x[i][j];
          x[i][j] *= 1.0F + scale[i][j];
        }
        roundQuad<kType>(x[i], quad, t, groups, to);
      }
    }
    float norm = 1.0F;
    if (normed) norm = 1.0F / sqrtf(blockSum(squares, partials) / static_cast<float>(in.cols) + in.eps);
    if (threadIdx.x == 0) norms[t] = norm;
  }
  __syncthreads();
}

__device__ __forceinline__ int groupsOf(std::int64_t cols) {
  return static_cast<int>((cols + kGroup - 1) / kGroup);
}

inline RoundedInput inputOf(const float* x, const float* normWeight, float eps, std::int64_t cols,
                            int tokens) {
  const bool aligned = cols % kQuad == 0 && isAligned(x) && isAligned(normWeight);
  return {x, normWeight, eps, cols, tokens, aligned};
}

}  // namespace eyrie::kernels::cuda
