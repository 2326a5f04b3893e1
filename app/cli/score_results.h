// What score gathers while tokens pass: sums, and the files that were asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "app/cli/part_file.h"
#include "app/cli/score_against.h"
#include "app/cli/score_options.h"
#include "engine/checkpoint/npy.h"
#include "engine/position_buckets.h"
#include "engine/score.h"

namespace eyrie::app {

class ScoreResults final : public engine::ScoreObserver {
 public:
  // T: all tokens, known where logits are asked for. `keptBytes`: what a continued run has written of every
  // token. References must outlive the results.
  ScoreResults(const ScoreOptions& options, const engine::ModelInfo& info, std::int64_t T,
               std::uint64_t keptBytes);

  // Hands on every prediction as well.
  void setAgainst(ScoreAgainst* against) { against_ = against; }
  void onToken(const engine::TokenRecord& record) override;
  void onLogits(std::int64_t position, std::span<const float> logits) override;

  // Everything written so far is on disk.
  void sync();
  // Files are whole and in place.
  void commit();
  engine::PositionBuckets& buckets() { return buckets_; }
  const engine::PositionBuckets& buckets() const { return buckets_; }
  // Of the scored tokens; a text's own size may differ (a tokenizer may add a space before it).
  std::uint64_t bytes() const { return bytes_; }
  void restoreBytes(std::uint64_t bytes) { bytes_ = bytes; }
  std::uint64_t perTokenBytes() const { return part_ ? part_->size() : 0; }

 private:
  void writeLine(const engine::TokenRecord& record);

  const engine::ModelInfo& info_;
  engine::PositionBuckets buckets_;
  std::optional<engine::NpyWriter> logits_;
  // One of the two, where lines are asked for: the second with a checkpoint.
  std::optional<engine::OutputFile> perToken_;
  std::optional<PartFile> part_;
  ScoreAgainst* against_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace eyrie::app
