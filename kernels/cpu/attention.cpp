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

// scores[m * ldScores + n] = q row m . key row n, for a handful of query rows.
template <int kRows>
HWY_INLINE void scoreRows(const float* q, const float* key, std::int64_t Dh, float* scores,
                          std::int64_t ldScores) {
  const std::int64_t lanes = laneCount();
  FloatVec acc[kRows];
  for (int m = 0; m < kRows; ++m) acc[m] = hn::Zero(FloatTag());
  for (std::int64_t i = 0; i < Dh; i += lanes) {
    const std::int64_t count = std::min(lanes, Dh - i);
    const FloatVec in = loadUpTo(key + i, count);
    for (int m = 0; m < kRows; ++m) acc[m] = hn::MulAdd(loadUpTo(q + m * Dh + i, count), in, acc[m]);
  }
  for (int m = 0; m < kRows; ++m) scores[m * ldScores] = sumOf(acc[m]);
}

// out rows += weights (rows, count) times value rows, one vector of the head's width at a time.
template <int kRows>
HWY_INLINE void mixRows(const float* weights, std::int64_t ldWeights, const KeyTile& tile,
                        std::int64_t stride, std::int64_t Dh, float* out) {
  const std::int64_t lanes = laneCount();
  for (std::int64_t i = 0; i < Dh; i += lanes) {
    const std::int64_t width = std::min(lanes, Dh - i);
    FloatVec acc[kRows];
    for (int m = 0; m < kRows; ++m) acc[m] = loadUpTo(out + m * Dh + i, width);
    for (std::int64_t n = 0; n < tile.count; ++n) {
      const FloatVec value = loadUpTo(tile.values + n * stride + i, width);
      for (int m = 0; m < kRows; ++m) {
        acc[m] = hn::MulAdd(hn::Set(FloatTag(), weights[m * ldWeights + n]), value, acc[m]);
      }
    }
    for (int m = 0; m < kRows; ++m) storeUpTo(acc[m], out + m * Dh + i, width);
  }
}

}  // namespace

void attentionScores(const float* q, std::int64_t rows, const KeyTile& tile, std::int64_t stride,
                     std::int64_t Dh, float* scores, std::int64_t ldScores) {
  std::int64_t m = 0;
  for (; m + 4 <= rows; m += 4) {
    for (std::int64_t n = 0; n < tile.count; ++n) {
      scoreRows<4>(q + m * Dh, tile.keys + n * stride, Dh, scores + m * ldScores + n, ldScores);
    }
  }
  for (; m < rows; ++m) {
    for (std::int64_t n = 0; n < tile.count; ++n) {
      scoreRows<1>(q + m * Dh, tile.keys + n * stride, Dh, scores + m * ldScores + n, ldScores);
    }
  }
}

void attentionMix(const float* weights, std::int64_t ldWeights, std::int64_t rows, const KeyTile& tile,
                  std::int64_t stride, std::int64_t Dh, float* out) {
  std::int64_t m = 0;
  for (; m + 4 <= rows; m += 4) {
    mixRows<4>(weights + m * ldWeights, ldWeights, tile, stride, Dh, out + m * Dh);
  }
  for (; m < rows; ++m) mixRows<1>(weights + m * ldWeights, ldWeights, tile, stride, Dh, out + m * Dh);
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
