// Teacher-forcing: how probable a model finds tokens that are given. In chunks, never (T, V) logits at once.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>

#include "engine/model.h"
#include "engine/prediction.h"

namespace eyrie::engine {

struct ScoreTotals {
  std::int64_t tokens = 0;  // fed, the first included
  std::int64_t scored = 0;  // those with a prediction before them
  double logprobSum = 0;    // natural log
  std::int64_t chunks = 0;
  bool complete = true;  // false: stopped; the totals are those of what was read

  double perplexity() const;  // exp(-logprobSum / scored), NaN when nothing was scored
};

class ScoreObserver {
 public:
  virtual ~ScoreObserver() = default;
  virtual void onToken(const TokenRecord& record) { (void)record; }
  // (V) predicting position + 1, valid during the call; every position, the last included. Comes after
  // onToken of that position.
  virtual void onLogits(std::int64_t position, std::span<const float> logits) {
    (void)position;
    (void)logits;
  }
};

// Scores tokens chunk by chunk after what `state` holds (usually nothing: a fresh state). Between two chunks
// totals(), pending() and the state are all there is to know, so that a run can be continued elsewhere.
class ScoreRun final : private PrefillObserver {
 public:
  // References must outlive the run.
  ScoreRun(Model& model, SequenceState& state, ScoreObserver& observer);

  // Feeds `tokens` as one chunk; `following` is the token after them, -1 where there is none. False when
  // stopped before the chunk was done: nothing has changed but totals().complete. Throws Error(badArgument)
  // for a token outside the vocabulary.
  bool feed(std::span<const std::int32_t> tokens, std::int32_t following, std::stop_token stop = {});
  const ScoreTotals& totals() const { return totals_; }
  // What is known of the token that was `following`: it is reported when it is fed.
  const TokenRecord& pending() const { return pending_; }
  void resume(const ScoreTotals& totals, const TokenRecord& pending);

 private:
  void onLogits(std::int64_t position, std::span<const float> logits) override;

  Model& model_;
  SequenceState& state_;
  ScoreObserver& observer_;
  PredictionReader reader_;
  ScoreTotals totals_;
  TokenRecord pending_;
  // Of the chunk in work.
  std::span<const std::int32_t> tokens_;
  std::int64_t first_ = 0;
  std::int32_t following_ = -1;
};

// Rows a chunk has when `asked` for (0: the model's own choice).
std::int64_t scoreChunk(const Model& model, std::int64_t asked);

// All of `tokens`. Throws Error(badArgument) for no tokens or one outside the vocabulary.
ScoreTotals scoreTokens(Model& model, SequenceState& state, std::span<const std::int32_t> tokens,
                        ScoreObserver& observer, std::int64_t chunk = 0, std::stop_token stop = {});

}  // namespace eyrie::engine
