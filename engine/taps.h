// What can be observed of a token, and where each number stands in its frame. DESIGN §5.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/config.h"

namespace eyrie::engine {

enum class TraceLevel : std::uint8_t { off, summary, full };

enum class Quantity : std::uint8_t {
  // summary, recurrent layers
  stateNorm,
  recurrenceGateMean,
  inputGateMean,
  writeNorm,
  keepNorm,
  halfLifeQuantiles,  // (5): 5, 25, 50, 75, 95 %
  // summary, attention layers
  attentionEntropy,  // (H) nats
  attentionFirst,    // (H) mass on the first visible token
  // full, recurrent layers. Channels are R, or R / 2 complex ones; then decay is |a|, and the (R) arrays hold
  // all real and after them all imaginary parts.
  recurrenceGate,  // (channels)
  inputGate,       // (channels)
  logDecay,        // (channels)
  decay,           // (channels)
  angle,           // (channels): by which a turns the state, radians; complex layers only
  write,           // (R)
  keep,            // (R)
  state,           // (R)
  // full, attention layers: (H, span), last column the token itself
  attention,
};

// The field's name as in golden/README.md: "state_norm", "recurrence_gate", …
const char* quantityName(Quantity quantity);

struct TraceOptions {
  TraceLevel level = TraceLevel::summary;
  std::vector<int> layers;  // layers observed in full; empty = all. Summary always covers every layer.
  // Columns kept for a global-attention layer's weights: the last `globalSpan` tokens.
  std::int64_t globalSpan = 512;
};

// One array of the trace, without its token axis.
struct TraceColumn {
  std::string name;  // "layers.3.state_norm"
  int layerIdx = 0;
  Quantity quantity = Quantity::stateNorm;
  std::vector<std::int64_t> shape;  // per token; empty = scalar
  std::int64_t offset = 0;          // first float in the frame
  std::int64_t size = 1;            // floats in the frame
};

// The order of floats in a frame. A pure function of configuration and options.
class FrameLayout {
 public:
  FrameLayout() = default;
  // Throws Error(badArgument) for a layer that is not there or an empty span.
  FrameLayout(const ModelConfig& config, const TraceOptions& options);

  const std::vector<TraceColumn>& columns() const { return columns_; }
  std::int64_t frameSize() const { return frameSize_; }  // floats
  const TraceColumn* find(int layerIdx, Quantity quantity) const;
  const TraceOptions& options() const { return options_; }

 private:
  void append(int layerIdx, Quantity quantity, std::vector<std::int64_t> shape);

  std::vector<TraceColumn> columns_;
  std::vector<int> index_;  // (L, quantities) into columns_, -1 = absent
  std::int64_t frameSize_ = 0;
  TraceOptions options_;
};

inline constexpr int kTopTokens = 8;  // alternatives kept for every token

// One token fed to the model, with the prediction it was drawn from (or scored by).
struct TokenRecord {
  std::int64_t position = 0;
  std::int32_t token = 0;
  bool generated = false;
  float logprob = 0;  // natural log at temperature 1, given all before; NaN for position 0 or when not scored
  float entropy = 0;  // nats, of the prediction for this token; NaN likewise
  std::int32_t rank = -1;                   // of this token in the prediction, 0 = most likely; -1 unknown
  std::int32_t topTokens[kTopTokens] = {};  // alternatives at this place, most likely first; -1 = none
  float topLogprobs[kTopTokens] = {};
  float milliseconds = 0;  // cost of the step that produced it
};

// What one position shows: the arrays of FrameLayout after `token` was fed.
struct TraceFrame {
  std::int64_t position = 0;
  std::int32_t token = 0;
  std::vector<float> values;  // frameSize() floats
};

}  // namespace eyrie::engine
