#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// scores[m * ldScores + n] = q row m . key row n, for a handful of both: enough independent sums to hide the
// latency of the multiply-add. Each sum is made in the same order whatever the handful.
template <int kRows, int kKeys>
HWY_INLINE void scoreTile(const float* q, const float* keys, std::int64_t stride, std::int64_t Dh,
                          float* scores, std::int64_t ldScores) {
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
  for (; i + lanes <= Dh; i += lanes) add(i, lanes);
  if (i < Dh) add(i, Dh - i);
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kKeys; ++n) scores[m * ldScores + n] = sumOf(acc[m][n]);
  }
}

// A row for attentionMix, which walks down columns: no hardware foresees that.
HWY_INLINE void fetchRow(const float* row, std::int64_t n) {
  constexpr std::int64_t kLine = 16;
  for (std::int64_t i = 0; i < n; i += kLine) __builtin_prefetch(row + i, 0, 2);
}

template <int kRows, int kKeys>
void scoreRows(const float* q, const KeyTile& tile, std::int64_t stride, std::int64_t Dh, float* scores,
               std::int64_t ldScores, bool fetchValues) {
  std::int64_t n = 0;
  const auto fetch = [&](std::int64_t keys) {
    for (std::int64_t i = n; fetchValues && i < n + keys; ++i) fetchRow(tile.values + i * stride, Dh);
  };
  for (; n + kKeys <= tile.count; n += kKeys) {
    fetch(kKeys);
    scoreTile<kRows, kKeys>(q, tile.keys + n * stride, stride, Dh, scores + n, ldScores);
  }
  for (; n < tile.count; ++n) {
    fetch(1);
    scoreTile<kRows, 1>(q, tile.keys + n * stride, stride, Dh, scores + n, ldScores);
  }
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
namespace {

HWY_EXPORT(attentionScores);
HWY_EXPORT(attentionMix);
HWY_EXPORT(attentionScale);
HWY_EXPORT(attentionExp);

constexpr std::int64_t kTileKeys = 128;
constexpr std::int64_t kGemmRows = 16;   // from this many query rows on a tile goes through BLAS
constexpr std::int64_t kBlockRows = 96;  // query rows of one unit of work, where there are as many

// A unit of work: some tokens times some of the heads that share one KV head. Row m of its arrays is token
// firstToken + m / heads, head firstHead + m % heads.
struct Unit {
  std::int64_t kvHead = 0;
  std::int64_t firstToken = 0;
  std::int64_t tokens = 0;
  std::int64_t firstHead = 0;
  std::int64_t heads = 0;

  std::int64_t rows() const { return tokens * heads; }
  // Index of row m in q and out, counted in heads.
  std::int64_t queryRow(const AttentionArgs& args, std::int64_t m) const {
    return (firstToken + m / heads) * args.H + firstHead + m % heads;
  }
};

// Online softmax of one unit: tiles of keys stream by while the running maximum, sum and weighted values are
// corrected.
class UnitAttention {
 public:
  void run(const AttentionArgs& args, const Unit& unit) {
    prepare(args, unit);
    const std::int64_t last = args.firstPosition + unit.firstToken + unit.tokens;
    std::int64_t position = firstVisible(args, args.firstPosition + unit.firstToken);
    while (position < last) {
      const KeyTile tile = keyTileAt(args, unit.kvHead, position, last, kTileKeys);
      attendTile(args, unit, tile);
      position += tile.count;
    }
    finish(args, unit);
  }

 private:
  void prepare(const AttentionArgs& args, const Unit& unit) {
    const auto rows = static_cast<std::size_t>(unit.rows());
    const auto width = static_cast<std::size_t>(args.Dh);
    q_.resize(rows * width);
    scores_.resize(rows * static_cast<std::size_t>(kTileKeys));
    mixed_.assign(rows * width, 0.0F);
    largest_.assign(rows, -std::numeric_limits<float>::infinity());
    sum_.assign(rows, 0.0F);
    for (std::int64_t m = 0; m < unit.rows(); ++m) {
      const std::int64_t row = unit.queryRow(args, m);
      std::copy_n(args.q + row * args.Dh, args.Dh, q_.data() + m * args.Dh);
      if (args.weights != nullptr) std::fill_n(args.weights + row * args.span, args.span, 0.0F);
    }
  }

  void attendTile(const AttentionArgs& args, const Unit& unit, const KeyTile& tile) {
    const std::int64_t stride = args.kvHeads * args.Dh;
    const bool product = unit.rows() >= kGemmRows;
    if (product) {
      gemm({unit.rows(), tile.count, args.Dh, q_.data(), args.Dh, tile.keys, stride, true, 0.0F,
            scores_.data(), kTileKeys});
    } else {
      HWY_DYNAMIC_DISPATCH(attentionScores)
      (q_.data(), unit.rows(), tile, stride, args.Dh, scores_.data(), kTileKeys);
    }
    for (std::int64_t m = 0; m < unit.rows(); ++m) softmaxRow(args, unit, tile, m);
    if (product) {
      gemm({unit.rows(), args.Dh, tile.count, scores_.data(), kTileKeys, tile.values, stride, false, 1.0F,
            mixed_.data(), args.Dh});
    } else {
      HWY_DYNAMIC_DISPATCH(attentionMix)
      (scores_.data(), kTileKeys, unit.rows(), tile, stride, args.Dh, mixed_.data());
    }
  }

  // Turns row m of the tile's scores into weights relative to the running maximum; hidden keys get 0.
  void softmaxRow(const AttentionArgs& args, const Unit& unit, const KeyTile& tile, std::int64_t m) {
    const std::int64_t position = args.firstPosition + unit.firstToken + m / unit.heads;
    const std::int64_t begin = std::max<std::int64_t>(0, firstVisible(args, position) - tile.first);
    const std::int64_t end = std::min(tile.count, position + 1 - tile.first);
    float* row = scores_.data() + m * kTileKeys;
    if (begin >= end) {
      std::fill_n(row, tile.count, 0.0F);
      return;
    }
    std::fill_n(row, begin, 0.0F);
    std::fill_n(row + end, tile.count - end, 0.0F);
    const float scale = 1.0F / std::sqrt(static_cast<float>(args.Dh));
    const float here = HWY_DYNAMIC_DISPATCH(attentionScale)(row + begin, end - begin, scale);
    if (args.weights != nullptr)
      keepScores(args, unit.queryRow(args, m), position, tile.first, begin, end, row);
    const auto index = static_cast<std::size_t>(m);
    if (here > largest_[index]) {
      const float correction = std::exp(largest_[index] - here);
      largest_[index] = here;
      sum_[index] *= correction;
      float* mixed = mixed_.data() + m * args.Dh;
      for (std::int64_t i = 0; i < args.Dh; ++i) mixed[i] *= correction;
    }
    sum_[index] += HWY_DYNAMIC_DISPATCH(attentionExp)(row + begin, end - begin, largest_[index], 1.0F);
  }

  // Scaled scores wait in the weights' place until the row's maximum and sum are known.
  static void keepScores(const AttentionArgs& args, std::int64_t queryRow, std::int64_t position,
                         std::int64_t tileFirst, std::int64_t begin, std::int64_t end, const float* row) {
    float* weights = args.weights + queryRow * args.span;
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t back = position - (tileFirst + n);
      if (back < args.span) weights[args.span - 1 - back] = row[n];
    }
  }

  void finish(const AttentionArgs& args, const Unit& unit) {
    for (std::int64_t m = 0; m < unit.rows(); ++m) {
      const auto index = static_cast<std::size_t>(m);
      const std::int64_t row = unit.queryRow(args, m);
      const float inverse = 1.0F / sum_[index];
      for (std::int64_t i = 0; i < args.Dh; ++i) {
        args.out[row * args.Dh + i] = mixed_[static_cast<std::size_t>(m * args.Dh + i)] * inverse;
      }
      if (args.weights == nullptr) continue;
      const std::int64_t position = args.firstPosition + unit.firstToken + m / unit.heads;
      const std::int64_t shown = std::min(args.span, position - firstVisible(args, position) + 1);
      float* shownWeights = args.weights + row * args.span + (args.span - shown);
      HWY_DYNAMIC_DISPATCH(attentionExp)(shownWeights, shown, largest_[index], inverse);
    }
  }

  std::vector<float> q_;
  std::vector<float> scores_;
  std::vector<float> mixed_;
  std::vector<float> largest_;
  std::vector<float> sum_;
};

struct Plan {
  std::int64_t tokensPerUnit = 1;
  std::int64_t headsPerUnit = 1;
  std::int64_t tokenBlocks = 1;
  std::int64_t headBlocks = 1;  // per KV head
};

// Whole head groups share each key that is read; they are split only where tokens and KV heads alone would
// leave threads idle.
Plan planFor(const AttentionArgs& args, int threads) {
  Plan plan;
  const std::int64_t group = args.H / args.kvHeads;
  plan.tokensPerUnit = std::clamp<std::int64_t>(kBlockRows / group, 1, args.T);
  plan.tokenBlocks = (args.T + plan.tokensPerUnit - 1) / plan.tokensPerUnit;
  const std::int64_t units = plan.tokenBlocks * args.kvHeads;
  const std::int64_t wanted = std::clamp<std::int64_t>((threads + units - 1) / units, 1, group);
  plan.headsPerUnit = (group + wanted - 1) / wanted;
  plan.headBlocks = (group + plan.headsPerUnit - 1) / plan.headsPerUnit;
  return plan;
}

Unit unitAt(const AttentionArgs& args, const Plan& plan, std::int64_t index) {
  const std::int64_t group = args.H / args.kvHeads;
  const std::int64_t headBlock = index % plan.headBlocks;
  const std::int64_t tokenBlock = index / plan.headBlocks % plan.tokenBlocks;
  Unit unit;
  unit.kvHead = index / plan.headBlocks / plan.tokenBlocks;
  unit.firstToken = tokenBlock * plan.tokensPerUnit;
  unit.tokens = std::min(plan.tokensPerUnit, args.T - unit.firstToken);
  unit.firstHead = unit.kvHead * group + headBlock * plan.headsPerUnit;
  unit.heads = std::min(plan.headsPerUnit, group - headBlock * plan.headsPerUnit);
  return unit;
}

}  // namespace

void attention(const AttentionArgs& args, ThreadPool& pool) {
  if (args.T == 0) return;
  const Plan plan = planFor(args, pool.size());
  const auto body = [&](std::int64_t begin, std::int64_t end, int) {
    thread_local UnitAttention worker;
    for (std::int64_t i = begin; i < end; ++i) worker.run(args, unitAt(args, plan, i));
  };
  const std::int64_t keys = std::min(args.older, args.firstPosition + args.T) + 1;
  const double perUnit = 0.1 * static_cast<double>(plan.tokensPerUnit * plan.headsPerUnit * keys * args.Dh);
  pool.parallelFor(args.kvHeads * plan.tokenBlocks * plan.headBlocks, grainFor(perUnit), body);
}

}  // namespace eyrie::kernels::cpu
#endif
