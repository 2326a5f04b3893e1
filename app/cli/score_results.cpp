#include "app/cli/score_results.h"

#include "app/cli/console.h"

namespace eyrie::app {

ScoreResults::ScoreResults(const ScoreOptions& options, const engine::ModelInfo& info, std::int64_t T,
                           std::uint64_t keptBytes)
    : info_(info), buckets_(options.bucket) {
  if (!options.logits.empty()) {
    logits_.emplace(options.logits, "<f4", std::vector<std::int64_t>{T, info.summary.config.V});
  }
  if (options.perToken.empty()) return;
  if (options.checkpoint.empty())
    perToken_.emplace(options.perToken);
  else
    part_.emplace(options.perToken, keptBytes);
}

void ScoreResults::onToken(const engine::TokenRecord& record) {
  if (record.position > 0) {
    if (info_.tokenizer) bytes_ += info_.tokenizer->bytes(record.token).size();
    engine::BucketSums& sums = buckets_.at(record.position);
    ++sums.tokens;
    sums.logprobSum += static_cast<double>(record.logprob);
  }
  if (perToken_ || part_) writeLine(record);
}

void ScoreResults::onLogits(std::int64_t, std::span<const float> logits) {
  if (logits_) logits_->write(logits.data(), logits.size_bytes());
  if (against_ != nullptr) against_->addPrediction(logits);
}

void ScoreResults::writeLine(const engine::TokenRecord& record) {
  const Json line{{"position", record.position},
                  {"token", record.token},
                  {"text", info_.tokenizer ? Json(info_.tokenizer->display(record.token)) : Json(nullptr)},
                  {"logprob", number(record.logprob)},
                  {"entropy", number(record.entropy)},
                  {"rank", record.position > 0 ? Json(record.rank) : Json(nullptr)}};
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (part_)
    part_->write(text);
  else
    perToken_->write(text.data(), text.size());
}

void ScoreResults::sync() {
  if (part_) part_->sync();
}

void ScoreResults::commit() {
  if (logits_) logits_->finish();
  if (perToken_) perToken_->commit();
  if (part_) part_->commit();
}

}  // namespace eyrie::app
