#include "engine/prediction.h"

#include <algorithm>
#include <limits>

#include "kernels/logits.h"
#include "kernels/sample.h"

namespace eyrie::engine {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::int32_t rankOf(std::span<const float> logits, std::int32_t token) {
  const auto at = static_cast<std::size_t>(token);
  const float own = logits[at];
  std::int32_t above = 0;
  for (std::size_t i = 0; i < at; ++i) above += logits[i] >= own ? 1 : 0;
  for (std::size_t i = at + 1; i < logits.size(); ++i) above += logits[i] > own ? 1 : 0;
  return above;
}

}  // namespace

TokenRecord emptyRecord(std::int64_t position, std::int32_t token) {
  TokenRecord record;
  record.position = position;
  record.token = token;
  record.logprob = kNaN;
  record.entropy = kNaN;
  std::fill(std::begin(record.topTokens), std::end(record.topTokens), -1);
  std::fill(std::begin(record.topLogprobs), std::end(record.topLogprobs), kNaN);
  return record;
}

void PredictionReader::describe(std::span<const float> logits, TokenRecord& record) {
  const auto V = static_cast<std::int64_t>(logits.size());
  const kernels::LogitStats stats = kernels::cpu::logitStats(logits.data(), V, pool_);
  record.entropy = stats.entropy;
  const std::int64_t k = std::min<std::int64_t>(kTopTokens, V);
  kernels::cpu::topK({logits.data(), V, k, record.topTokens, record.topLogprobs}, pool_);
  for (std::int64_t i = 0; i < k; ++i) record.topLogprobs[i] -= stats.logSumExp;
  if (record.token < 0) return;
  record.logprob = logits[static_cast<std::size_t>(record.token)] - stats.logSumExp;
  record.rank = rankOf(logits, record.token);
}

void PredictionReader::describe(const RankedLogits& ranked, TokenRecord& record) {
  record.entropy = ranked.stats.entropy;
  const std::size_t k = std::min<std::size_t>(kTopTokens, ranked.tokens.size());
  for (std::size_t i = 0; i < k; ++i) {
    record.topTokens[i] = ranked.tokens[i];
    record.topLogprobs[i] = ranked.logits[i] - ranked.stats.logSumExp;
  }
  if (record.token < 0) return;
  const auto own = std::find(ranked.tokens.begin(), ranked.tokens.end(), record.token);
  record.rank = static_cast<std::int32_t>(own - ranked.tokens.begin());
  record.logprob = ranked.logits[static_cast<std::size_t>(record.rank)] - ranked.stats.logSumExp;
}

}  // namespace eyrie::engine
