// --against of score: a second model reads the same tokens, chunk by chunk behind the first.
#pragma once

#include <optional>
#include <vector>

#include "app/cli/score_options.h"
#include "engine/position_buckets.h"
#include "engine/score.h"

namespace eyrie::app {

class ScoreAgainst final : public engine::ScoreObserver {
 public:
  // Throws engine::Error where the models have different vocabularies.
  ScoreAgainst(const ScoreOptions& options, const LoadedModel& first, std::stop_token stop);

  // At most this many tokens a chunk, whose predictions are held at once.
  static std::int64_t longestChunk(const engine::ModelConfig& config);
  // The first model's, in order of position.
  void addPrediction(std::span<const float> logits);
  // The chunk whose predictions were added; its sums go to `buckets`. Not to be stopped: both models stand at
  // the same position afterwards.
  void feed(std::span<const std::int32_t> tokens, std::int32_t following, engine::PositionBuckets& buckets);

  const engine::ScoreTotals& totals() const { return run_->totals(); }
  double divergence() const;  // mean over the tokens scored, NaN for none
  const engine::ModelInfo& info() const { return second_.info; }
  const auto& interventions() const { return second_.interventions; }

 private:
  void onToken(const engine::TokenRecord& record) override;
  void onLogits(std::int64_t position, std::span<const float> logits) override;

  LoadedModel second_;
  std::optional<engine::SequenceState> state_;
  std::optional<engine::ScoreRun> run_;
  std::vector<float> predictions_;  // (rows, V) of the first model
  std::int64_t firstPosition_ = 0;
  double pending_ = 0;  // divergence of the predictions of the next token
  double divergenceSum_ = 0;
  engine::PositionBuckets* buckets_ = nullptr;
};

}  // namespace eyrie::app
