#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/cpu/attention_rows.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

namespace eyrie::kernels::cpu {
namespace {

constexpr std::int64_t kTileKeys = 128;
// Of single tokens, whose heads read a tile's keys and values again from a near cache.
constexpr std::int64_t kTokenTileKeys = 64;
constexpr std::int64_t kGemmRows = 16;   // from this many query rows on a tile goes through BLAS
constexpr std::int64_t kBlockRows = 96;  // query rows of one unit of work, where there are as many

// A unit of work: some tokens times some of the heads that share one KV head, over the keys of some
// positions. Row m of its arrays is token firstToken + m / heads, head firstHead + m % heads.
struct Unit {
  std::int64_t kvHead = 0;
  std::int64_t firstToken = 0;
  std::int64_t tokens = 0;
  std::int64_t firstHead = 0;
  std::int64_t heads = 0;
  std::int64_t firstKey = 0;
  std::int64_t endKey = 0;
  std::int64_t tileKeys = kTileKeys;

  std::int64_t rows() const { return tokens * heads; }
  std::int64_t token(std::int64_t m) const { return firstToken + m / heads; }
  // Index of row m in q and out, counted in heads.
  std::int64_t queryRow(const AttentionArgs& args, std::int64_t m) const {
    return token(m) * args.H + firstHead + m % heads;
  }
};

// What a row of queries knows after some keys: out = mixed / sum, where weights are relative to the largest
// score.
struct Softmax {
  float largest = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

void clearWeights(const AttentionArgs& args, std::int64_t queryRow) {
  if (args.weights != nullptr) std::fill_n(args.weights + queryRow * args.span, args.span, 0.0F);
}

// The scores that wait in the weights' place become weights.
void finishWeights(const AttentionArgs& args, std::int64_t queryRow, const Softmax& all) {
  if (args.weights == nullptr) return;
  const std::int64_t position = args.firstPosition + queryRow / args.H;
  const std::int64_t shown = std::min(args.span, position - firstVisible(args, position) + 1);
  float* const weights = args.weights + queryRow * args.span + (args.span - shown);
  expScores(weights, shown, all.largest, 1.0F / all.sum);
}

// Online softmax of one unit: tiles of keys stream by while the running maximum, sum and weighted values are
// corrected.
class UnitAttention {
 public:
  // Scaled scores are left where weights are shown.
  void run(const AttentionArgs& args, const Unit& unit) {
    prepare(args, unit);
    for (std::int64_t position = unit.firstKey; position < unit.endKey;) {
      const KeyTile tile = keyTileAt(args, unit.kvHead, position, unit.endKey, unit.tileKeys);
      attendTile(args, unit, tile);
      position += tile.count;
    }
  }

  const Softmax& softmax(std::int64_t m) const { return softmax_[static_cast<std::size_t>(m)]; }
  const float* mixed(const AttentionArgs& args, std::int64_t m) const { return mixed_.data() + m * args.Dh; }

 private:
  void prepare(const AttentionArgs& args, const Unit& unit) {
    const auto rows = static_cast<std::size_t>(unit.rows());
    const auto width = static_cast<std::size_t>(args.Dh);
    q_.resize(rows * width);
    scores_.resize(rows * static_cast<std::size_t>(kTileKeys));
    mixed_.assign(rows * width, 0.0F);
    softmax_.assign(rows, {});
    for (std::int64_t m = 0; m < unit.rows(); ++m)
      std::copy_n(args.q + unit.queryRow(args, m) * args.Dh, args.Dh, q_.data() + m * args.Dh);
  }

  void attendTile(const AttentionArgs& args, const Unit& unit, const KeyTile& tile) {
    const std::int64_t stride = args.kvHeads * args.Dh;
    const bool product = unit.rows() >= kGemmRows;
    if (product) {
      gemm({unit.rows(), tile.count, args.Dh, q_.data(), args.Dh, tile.keys, stride, true, 0.0F,
            scores_.data(), kTileKeys});
    } else {
      scoreKeys(q_.data(), unit.rows(), tile, stride, args.Dh, scores_.data(), kTileKeys);
    }
    for (std::int64_t m = 0; m < unit.rows(); ++m) softmaxRow(args, unit, tile, m);
    if (product) {
      gemm({unit.rows(), args.Dh, tile.count, scores_.data(), kTileKeys, tile.values, stride, false, 1.0F,
            mixed_.data(), args.Dh});
    } else {
      mixValues(scores_.data(), kTileKeys, unit.rows(), tile, stride, args.Dh, mixed_.data());
    }
  }

  // Turns row m of the tile's scores into weights relative to the running maximum; hidden keys get 0.
  void softmaxRow(const AttentionArgs& args, const Unit& unit, const KeyTile& tile, std::int64_t m) {
    const std::int64_t position = args.firstPosition + unit.token(m);
    const std::int64_t begin = std::max<std::int64_t>(0, firstVisible(args, position) - tile.first);
    const std::int64_t end = std::min(tile.count, position + 1 - tile.first);
    float* row = scores_.data() + m * kTileKeys;
    if (begin >= end) {
      std::fill_n(row, tile.count, 0.0F);
      return;
    }
    std::fill_n(row, begin, 0.0F);
    std::fill_n(row + end, tile.count - end, 0.0F);
    const float here = scaleScores(row + begin, end - begin, 1.0F / std::sqrt(static_cast<float>(args.Dh)));
    if (args.weights != nullptr)
      keepScores(args, unit.queryRow(args, m), position, tile.first, begin, end, row);
    Softmax& all = softmax_[static_cast<std::size_t>(m)];
    if (here > all.largest) {
      const float correction = std::exp(all.largest - here);
      all.largest = here;
      all.sum *= correction;
      float* mixed = mixed_.data() + m * args.Dh;
      for (std::int64_t i = 0; i < args.Dh; ++i) mixed[i] *= correction;
    }
    all.sum += expScores(row + begin, end - begin, all.largest, 1.0F);
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

  std::vector<float> q_;
  std::vector<float> scores_;
  std::vector<float> mixed_;
  std::vector<Softmax> softmax_;
};

double nanosecondsOf(const AttentionArgs& args, const Unit& unit) {
  return 0.1 * static_cast<double>(unit.rows() * (unit.endKey - unit.firstKey) * args.Dh);
}

// ---- chunks: each unit sees all the keys of its queries ----

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
  unit.firstKey = firstVisible(args, args.firstPosition + unit.firstToken);
  unit.endKey = args.firstPosition + unit.firstToken + unit.tokens;
  return unit;
}

void attendChunk(const AttentionArgs& args, ThreadPool& pool) {
  const Plan plan = planFor(args, pool.size());
  const auto body = [&](std::int64_t begin, std::int64_t end, int) {
    thread_local UnitAttention worker;
    for (std::int64_t i = begin; i < end; ++i) {
      const Unit unit = unitAt(args, plan, i);
      for (std::int64_t m = 0; m < unit.rows(); ++m) clearWeights(args, unit.queryRow(args, m));
      worker.run(args, unit);
      for (std::int64_t m = 0; m < unit.rows(); ++m) {
        const std::int64_t row = unit.queryRow(args, m);
        const float inverse = 1.0F / worker.softmax(m).sum;
        const float* const mixed = worker.mixed(args, m);
        for (std::int64_t d = 0; d < args.Dh; ++d) args.out[row * args.Dh + d] = mixed[d] * inverse;
        finishWeights(args, row, worker.softmax(m));
      }
    }
  };
  const std::int64_t units = args.kvHeads * plan.tokenBlocks * plan.headBlocks;
  pool.parallelFor(units, grainFor(nanosecondsOf(args, unitAt(args, plan, units - 1))), body);
}

// ---- single tokens: each unit sees a range of the keys, so that each key is read once ----

// The cut depends on the keys alone, so that the result does not depend on how many threads there are.
struct Ranges {
  static constexpr std::int64_t kLeastKeys = 64;
  static constexpr std::int64_t kMost = 8;

  std::int64_t first;  // key
  std::int64_t end;
  std::int64_t count;

  explicit Ranges(const AttentionArgs& args)
      : first(firstVisible(args, args.firstPosition)),
        end(args.firstPosition + 1),
        count(std::clamp<std::int64_t>((end - first) / kLeastKeys, 1, kMost)) {}

  Unit unit(const AttentionArgs& args, std::int64_t index) const {
    const std::int64_t group = args.H / args.kvHeads;
    const std::int64_t keys = (end - first + count - 1) / count;
    Unit unit;
    unit.kvHead = index / count;
    unit.tokens = 1;
    unit.firstHead = unit.kvHead * group;
    unit.heads = group;
    unit.firstKey = std::min(end, first + index % count * keys);
    unit.endKey = std::min(end, unit.firstKey + keys);
    unit.tileKeys = kTokenTileKeys;
    return unit;
  }
};

// What the ranges of one query have found, (count) rows of it.
void joinRanges(const AttentionArgs& args, std::int64_t head, std::span<const Softmax> parts,
                const float* mixed) {
  Softmax all;
  for (const Softmax& part : parts) all.largest = std::max(all.largest, part.largest);
  float* const out = args.out + head * args.Dh;
  std::fill_n(out, args.Dh, 0.0F);
  for (const Softmax& part : parts) {
    const float share = std::exp(part.largest - all.largest);
    all.sum += share * part.sum;
    for (std::int64_t d = 0; d < args.Dh; ++d) out[d] += share * mixed[d];
    mixed += args.Dh;
  }
  const float inverse = 1.0F / all.sum;
  for (std::int64_t d = 0; d < args.Dh; ++d) out[d] *= inverse;
  finishWeights(args, head, all);
}

void attendToken(const AttentionArgs& args, ThreadPool& pool) {
  const Ranges ranges(args);
  thread_local std::vector<Softmax> softmax;  // (H, ranges)
  thread_local std::vector<float> mixed;      // (H, ranges, Dh)
  softmax.resize(static_cast<std::size_t>(args.H * ranges.count));
  mixed.resize(softmax.size() * static_cast<std::size_t>(args.Dh));
  for (std::int64_t head = 0; head < args.H; ++head) clearWeights(args, head);
  const auto body = [&, softmaxOf = softmax.data(), mixedOf = mixed.data()](std::int64_t begin,
                                                                            std::int64_t end, int) {
    thread_local UnitAttention worker;
    for (std::int64_t i = begin; i < end; ++i) {
      const Unit unit = ranges.unit(args, i);
      worker.run(args, unit);
      for (std::int64_t m = 0; m < unit.heads; ++m) {
        const std::int64_t at = (unit.firstHead + m) * ranges.count + i % ranges.count;
        softmaxOf[at] = worker.softmax(m);
        std::copy_n(worker.mixed(args, m), args.Dh, mixedOf + at * args.Dh);
      }
    }
  };
  pool.parallelFor(args.kvHeads * ranges.count, grainFor(nanosecondsOf(args, ranges.unit(args, 0))), body);
  for (std::int64_t head = 0; head < args.H; ++head) {
    const auto at = static_cast<std::size_t>(head * ranges.count);
    joinRanges(args, head, std::span(softmax).subspan(at, static_cast<std::size_t>(ranges.count)),
               mixed.data() + head * ranges.count * args.Dh);
  }
}

}  // namespace

void attention(const AttentionArgs& args, ThreadPool& pool) {
  if (args.T == 0) return;
  if (args.T == 1) return attendToken(args, pool);
  attendChunk(args, pool);
}

}  // namespace eyrie::kernels::cpu
