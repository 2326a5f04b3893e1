// Feeds known tokens in chunks and reports a record (and a frame) for each, in order of position.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/generator.h"
#include "engine/model.h"
#include "engine/prediction.h"

namespace eyrie::engine {

struct ReadingOptions {
  const FrameLayout* trace = nullptr;
  bool score = false;      // predictions of the tokens read
  std::int64_t chunk = 0;  // rows; 0 = as many as the model takes
};

// Reads tokens at positions state.position().. . One use.
class ContextReader final : public PrefillObserver {
 public:
  // Logits of each position, where somebody wants them besides the records.
  using LogitsSink = std::function<void(std::int64_t position, std::span<const float> logits)>;

  ContextReader(Model& model, SequenceState& state, std::span<const std::int32_t> context,
                const ReadingOptions& options, GenerateObserver& observer);
  void setLogitsSink(LogitsSink sink) { sink_ = std::move(sink); }

  // Feeds up to `end` tokens of the context; false when stopped before, which takes no longer than a layer.
  bool readTo(std::int64_t end, std::stop_token stop);
  // Feeds the one token that follows, as generation does; logits valid until the model's next call.
  std::span<const float> readLast();
  std::int64_t fed() const { return fed_; }
  std::int64_t chunks() const { return chunks_; }

  void onLogits(std::int64_t position, std::span<const float> logits) override;
  void onFrame(const TraceFrame& frame) override;
  void onWork(double tokens) override;

 private:
  void reportTo(std::int64_t end, float milliseconds);
  bool scoring() const { return options_.score || sink_; }

  Model& model_;
  SequenceState& state_;
  std::span<const std::int32_t> context_;
  ReadingOptions options_;
  GenerateObserver& observer_;
  LogitsSink sink_;
  PredictionReader reader_;
  TokenRecord next_;            // of position reported_, with what is known of its prediction
  std::int64_t reported_ = 0;   // positions before it have been reported
  std::int64_t fedBefore_ = 0;  // position at which the chunk in work begins
  std::int64_t progress_ = 0;   // position up to which progress was reported
  std::int64_t fed_ = 0;
  std::int64_t chunks_ = 0;
};

}  // namespace eyrie::engine
