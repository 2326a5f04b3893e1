#include "engine/score.h"

#include <cmath>
#include <limits>

#include "engine/error.h"

namespace eyrie::engine {

double ScoreTotals::perplexity() const {
  if (scored == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(-logprobSum / static_cast<double>(scored));
}

ScoreRun::ScoreRun(Model& model, SequenceState& state, ScoreObserver& observer)
    : model_(model), state_(state), observer_(observer), pending_(emptyRecord(state.position(), -1)) {}

void ScoreRun::resume(const ScoreTotals& totals, const TokenRecord& pending) {
  totals_ = totals;
  pending_ = pending;
}

bool ScoreRun::feed(std::span<const std::int32_t> tokens, std::int32_t following, std::stop_token stop) {
  tokens_ = tokens;
  following_ = following;
  first_ = state_.position();
  // The first token of all has no prediction.
  if (pending_.token < 0 && !tokens.empty()) pending_ = emptyRecord(first_, tokens.front());
  const auto rows = static_cast<std::int64_t>(tokens.size());
  model_.prefill(state_, tokens, LogitRows::all, this, nullptr, std::move(stop), rows);
  totals_.complete = state_.position() == first_ + rows;
  if (totals_.complete) ++totals_.chunks;
  return totals_.complete;
}

void ScoreRun::onLogits(std::int64_t position, std::span<const float> logits) {
  ++totals_.tokens;
  // Ranked: it was predicted, if only by a NaN, which then is the sum as well.
  if (pending_.rank >= 0) {
    ++totals_.scored;
    totals_.logprobSum += static_cast<double>(pending_.logprob);
  }
  observer_.onToken(pending_);
  observer_.onLogits(position, logits);
  const auto next = static_cast<std::size_t>(position + 1 - first_);
  pending_ = emptyRecord(position + 1, next < tokens_.size() ? tokens_[next] : following_);
  if (pending_.token >= 0) reader_.describe(logits, pending_);
}

std::int64_t scoreChunk(const Model& model, std::int64_t asked) {
  return asked <= 0 || asked > model.maxChunk() ? model.maxChunk() : asked;
}

ScoreTotals scoreTokens(Model& model, SequenceState& state, std::span<const std::int32_t> tokens,
                        ScoreObserver& observer, std::int64_t chunk, std::stop_token stop) {
  if (tokens.empty()) throw Error(ErrorCode::badArgument, "tokens: expected at least one, found none");
  const auto rows = static_cast<std::size_t>(scoreChunk(model, chunk));
  ScoreRun run(model, state, observer);
  while (!tokens.empty()) {
    const auto part = tokens.first(std::min(rows, tokens.size()));
    tokens = tokens.subspan(part.size());
    if (!run.feed(part, tokens.empty() ? -1 : tokens.front(), stop)) break;
  }
  return run.totals();
}

}  // namespace eyrie::engine
