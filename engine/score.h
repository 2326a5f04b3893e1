// Teacher-forcing: how probable a model finds tokens that are given. In chunks, never (T, V) logits at once.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>

#include "engine/generator.h"
#include "engine/model.h"

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
  // Whether onLogits should be called.
  virtual bool wantsLogits() const { return false; }
  // (V) predicting position + 1, valid during the call; every position, the last included.
  virtual void onLogits(std::int64_t position, std::span<const float> logits) {
    (void)position;
    (void)logits;
  }
  virtual void onProgress(std::int64_t done, std::int64_t total) {
    (void)done;
    (void)total;
  }
};

// Feeds all of `tokens` after what `state` holds (usually nothing: a fresh state). chunk: rows at once, 0 for
// the model's own choice. Throws Error(badArgument) for no tokens or one outside the vocabulary.
ScoreTotals scoreTokens(Model& model, SequenceState& state, std::span<const std::int32_t> tokens,
                        ScoreObserver& observer, std::int64_t chunk = 0, std::stop_token stop = {});

}  // namespace eyrie::engine
