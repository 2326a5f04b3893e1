#include "kernels/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/draw.h"

namespace eyrie::kernels::reference {
namespace {

Drawn drawRow(const DrawArgs& args, std::int64_t row) {
  const DrawRule& rule = args.rules[row];
  const float* const logits = args.logits + row * args.known;
  const auto weightAt = [&](std::int64_t place) {
    return weightOf(logits[place], logits[0], rule.temperature);
  };
  const std::int64_t most = mostKept(rule, args.V);
  const LogitStats& scaled = args.scaled[row];
  if (!isNumber(args.stats[row].logSumExp)) return {};
  std::uint64_t mass = 0;
  if (most < args.V) {
    if (most > args.known) return {};
    for (std::int64_t place = 0; place < most; ++place) mass += weightAt(place);
  } else {
    if (!isNumber(scaled.logSumExp)) return {};
    mass = massOf(scaled);
  }
  const DrawFilter filter = filterOf(rule, mass);
  const Kept kept = keptOf(filter, std::min(most, args.known), weightAt);
  const bool othersPass = kept.count == args.known && kept.total < filter.wanted;
  if (most > args.known && othersPass) return {};
  return {kept.total, args.tokens[row * args.known + drawnPlace(rule, kept, weightAt)],
          static_cast<std::int32_t>(kept.count)};
}

}  // namespace

void topK(const TopKArgs& args) {
  const auto valueOf = [&](std::int32_t index) {
    const float value = args.logits[index];
    return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
  };
  std::vector<std::int32_t> order(static_cast<std::size_t>(args.V));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return valueOf(a) > valueOf(b); });
  for (std::int64_t i = 0; i < args.k; ++i) {
    args.indices[i] = order[static_cast<std::size_t>(i)];
    args.values[i] = valueOf(args.indices[i]);
  }
}

void draw(const DrawArgs& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) args.drawn[row] = drawRow(args, row);
}

std::uint64_t weightOfAll(const float* logits, std::int64_t V, float largest, float temperature) {
  std::uint64_t all = 0;
  for (std::int64_t v = 0; v < V; ++v) all += weightOf(logits[v], largest, temperature);
  return all;
}

}  // namespace eyrie::kernels::reference
