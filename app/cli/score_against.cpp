#include "app/cli/score_against.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/compare.h"
#include "engine/error.h"

namespace eyrie::app {
namespace {

constexpr std::int64_t kHeldFloats = std::int64_t{16} << 20U;

ModelOptions secondOptions(const ScoreOptions& options) {
  ModelOptions second = options.model;
  if (options.against != options.model.model) second.preset.clear();
  second.model = options.against;
  second.dtype = options.againstDtype;
  second.intervene = options.againstIntervene;
  return second;
}

}  // namespace

ScoreAgainst::ScoreAgainst(const ScoreOptions& options, const LoadedModel& first, std::stop_token stop)
    : second_(loadModel(secondOptions(options), std::move(stop))) {
  const std::int64_t expected = first.model->config().V;
  const std::int64_t found = second_.model->config().V;
  if (found != expected) {
    throw engine::Error(engine::ErrorCode::badArgument,
                        fmt::format("--against {}: expected the {} tokens of {}, found {}", second_.info.name,
                                    expected, first.info.name, found));
  }
  state_.emplace(second_.newState());
  run_.emplace(*second_.model, *state_, *this);
}

std::int64_t ScoreAgainst::longestChunk(const engine::ModelConfig& config) {
  return std::max<std::int64_t>(1, kHeldFloats / config.V);
}

void ScoreAgainst::addPrediction(std::span<const float> logits) {
  predictions_.insert(predictions_.end(), logits.begin(), logits.end());
}

void ScoreAgainst::feed(std::span<const std::int32_t> tokens, std::int32_t following,
                        engine::PositionBuckets& buckets) {
  buckets_ = &buckets;
  firstPosition_ = state_->position();
  run_->feed(tokens, following);
  predictions_.clear();
}

double ScoreAgainst::divergence() const {
  const std::int64_t scored = totals().scored;
  return scored == 0 ? std::numeric_limits<double>::quiet_NaN()
                     : divergenceSum_ / static_cast<double>(scored);
}

void ScoreAgainst::onToken(const engine::TokenRecord& record) {
  if (record.position == 0) return;
  engine::BucketSums& sums = buckets_->at(record.position);
  sums.otherLogprobSum += static_cast<double>(record.logprob);
  sums.divergenceSum += pending_;
  divergenceSum_ += pending_;
}

void ScoreAgainst::onLogits(std::int64_t position, std::span<const float> logits) {
  const auto row = static_cast<std::size_t>(position - firstPosition_);
  pending_ =
      engine::divergenceOf(std::span(predictions_).subspan(row * logits.size(), logits.size()), logits);
}

}  // namespace eyrie::app
