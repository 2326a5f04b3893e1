#include "kernels/cpu/attention_rows.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_rows.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// scores[m * ldScores + n] = q row m . key row n, for a handful of both: enough independent sums to hide the
// latency of the multiply-add. Each sum is made in the same order whatever the handful. On the way the rows
// at `fetched`, if any, are asked for: attentionMix walks down columns, which no hardware foresees.
template <int kRows, int kKeys>
HWY_INLINE void scoreTile(const float* q, const float* keys, std::int64_t stride, std::int64_t Dh,
                          float* scores, std::int64_t ldScores, const float* fetched) {
  constexpr std::int64_t kLine = 16;
  FloatVec acc[kRows][kKeys];
  for (auto& row : acc) {
    for (FloatVec& sum : row) sum = hn::Zero(FloatTag());
  }
  const auto add = [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    FloatVec in[kKeys];
    for (int n = 0; n < kKeys; ++n) in[n] = loadUpTo(keys + n * stride + i, count);
    for (int m = 0; m < kRows; ++m) {
      const FloatVec query = loadUpTo(q + m * Dh + i, count);
      for (int n = 0; n < kKeys; ++n) acc[m][n] = hn::MulAdd(query, in[n], acc[m][n]);
    }
  };
  const std::int64_t lanes = laneCount();
  std::int64_t i = 0;
  for (; i + lanes <= Dh; i += lanes) {
    for (int n = 0; n < kKeys && fetched != nullptr && i % kLine == 0; ++n)
      __builtin_prefetch(fetched + n * stride + i, 0, 2);
    add(i, lanes);
  }
  if (i < Dh) add(i, Dh - i);
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kKeys; ++n) scores[m * ldScores + n] = sumOf(acc[m][n]);
  }
}

template <int kRows, int kKeys>
void scoreRows(const float* q, const KeyTile& tile, std::int64_t stride, std::int64_t Dh, float* scores,
               std::int64_t ldScores, bool fetchValues) {
  const auto valueOf = [&](std::int64_t n) { return fetchValues ? tile.values + n * stride : nullptr; };
  std::int64_t n = 0;
  for (; n + kKeys <= tile.count; n += kKeys)
    scoreTile<kRows, kKeys>(q, tile.keys + n * stride, stride, Dh, scores + n, ldScores, valueOf(n));
  for (; n < tile.count; ++n)
    scoreTile<kRows, 1>(q, tile.keys + n * stride, stride, Dh, scores + n, ldScores, valueOf(n));
}

// out rows += weights (rows, count) times value rows, a few vectors of the head's width at a time, of which
// the last has `width` columns.
template <int kRows, int kVecs>
HWY_INLINE void mixColumns(const float* weights, std::int64_t ldWeights, const KeyTile& tile,
                           std::int64_t stride, std::int64_t Dh, std::int64_t i, std::int64_t width,
                           float* out) {
  const std::int64_t lanes = laneCount();
  const auto widthOf = [&](int v) { return v + 1 < kVecs ? lanes : width; };
  FloatVec acc[kRows][kVecs];
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < kVecs; ++v) acc[m][v] = loadUpTo(out + m * Dh + i + v * lanes, widthOf(v));
  }
  for (std::int64_t n = 0; n < tile.count; ++n) {
    FloatVec values[kVecs];
    for (int v = 0; v < kVecs; ++v)
      values[v] = loadUpTo(tile.values + n * stride + i + v * lanes, widthOf(v));
    for (int m = 0; m < kRows; ++m) {
      const FloatVec weight = hn::Set(FloatTag(), weights[m * ldWeights + n]);
      for (int v = 0; v < kVecs; ++v) acc[m][v] = hn::MulAdd(weight, values[v], acc[m][v]);
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < kVecs; ++v) storeUpTo(acc[m][v], out + m * Dh + i + v * lanes, widthOf(v));
  }
}

template <int kRows, int kVecs>
void mixRows(const float* weights, std::int64_t ldWeights, const KeyTile& tile, std::int64_t stride,
             std::int64_t Dh, float* out) {
  const std::int64_t lanes = laneCount();
  std::int64_t i = 0;
  for (; i + kVecs * lanes <= Dh; i += kVecs * lanes)
    mixColumns<kRows, kVecs>(weights, ldWeights, tile, stride, Dh, i, lanes, out);
  for (; i < Dh; i += lanes)
    mixColumns<kRows, 1>(weights, ldWeights, tile, stride, Dh, i, std::min(lanes, Dh - i), out);
}

// work.template operator()<rows, sums a row>(first row): the handfuls of which `rows` consist.
template <class Work>
HWY_INLINE void inHandfuls(std::int64_t rows, const Work& work) {
  std::int64_t m = 0;
  for (; m + 5 <= rows; m += 5) work.template operator()<5, 2>(m);
  if (rows - m == 4) work.template operator()<4, 2>(m);
  if (rows - m == 3) work.template operator()<3, 3>(m);
  if (rows - m == 2) work.template operator()<2, 4>(m);
  if (rows - m == 1) work.template operator()<1, 8>(m);
}

}  // namespace

void attentionScores(const float* q, std::int64_t rows, const KeyTile& tile, std::int64_t stride,
                     std::int64_t Dh, float* scores, std::int64_t ldScores) {
  inHandfuls(rows, [&]<int kRows, int kKeys>(std::int64_t m) {
    scoreRows<kRows, kKeys>(q + m * Dh, tile, stride, Dh, scores + m * ldScores, ldScores, m == 0);
  });
}

void attentionMix(const float* weights, std::int64_t ldWeights, std::int64_t rows, const KeyTile& tile,
                  std::int64_t stride, std::int64_t Dh, float* out) {
  inHandfuls(rows, [&]<int kRows, int kVecs>(std::int64_t m) {
    mixRows<kRows, kVecs>(weights + m * ldWeights, ldWeights, tile, stride, Dh, out + m * Dh);
  });
}

// values <- scale * values; returns the largest.
float attentionScale(float* values, std::int64_t n, float scale) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; i += lanes) {
    const std::int64_t count = std::min(lanes, n - i);
    const FloatVec scaled = hn::Mul(loadUpTo(values + i, count), hn::Set(d, scale));
    storeUpTo(scaled, values + i, count);
    if (count == lanes) {
      largest = std::max(largest, maxOf(scaled));
    } else {
      largest = std::max(largest, *std::max_element(values + i, values + i + count));
    }
  }
  return largest;
}

// values <- e^(values - largest) * factor; returns the sum.
float attentionExp(float* values, std::int64_t n, float largest, float factor) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  FloatVec sum = hn::Zero(d);
  float tail = 0;
  for (std::int64_t i = 0; i < n; i += lanes) {
    const std::int64_t count = std::min(lanes, n - i);
    const FloatVec shifted = hn::Sub(loadUpTo(values + i, count), hn::Set(d, largest));
    const FloatVec weight = hn::Mul(expOfNonPositive(shifted), hn::Set(d, factor));
    storeUpTo(weight, values + i, count);
    if (count == lanes) {
      sum = hn::Add(sum, weight);
    } else {
      for (std::int64_t j = i; j < n; ++j) tail += values[j];
    }
  }
  return sumOf(sum) + tail;
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(attentionScores);
HWY_EXPORT(attentionMix);
HWY_EXPORT(attentionScale);
HWY_EXPORT(attentionExp);

void scoreKeys(const float* q, std::int64_t rows, const KeyTile& tile, std::int64_t stride, std::int64_t Dh,
               float* scores, std::int64_t ldScores) {
  HWY_DYNAMIC_DISPATCH(attentionScores)
  (q, rows, tile, stride, Dh, scores, ldScores);
}

void mixValues(const float* weights, std::int64_t ldWeights, std::int64_t rows, const KeyTile& tile,
               std::int64_t stride, std::int64_t Dh, float* out) {
  HWY_DYNAMIC_DISPATCH(attentionMix)
  (weights, ldWeights, rows, tile, stride, Dh, out);
}

float scaleScores(float* scores, std::int64_t n, float scale) {
  return HWY_DYNAMIC_DISPATCH(attentionScale)(scores, n, scale);
}

float expScores(float* scores, std::int64_t n, float largest, float factor) {
  return HWY_DYNAMIC_DISPATCH(attentionExp)(scores, n, largest, factor);
}

}  // namespace eyrie::kernels::cpu
#endif
