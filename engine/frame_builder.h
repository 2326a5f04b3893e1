// Turns what a block shows into the floats of trace frames. Pure host arithmetic, no model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend.h"
#include "engine/taps.h"

namespace eyrie::engine {

class FrameBuilder {
 public:
  // Frames of one part of a chunk, whose rows begin at `firstRow`: a frame a token. `frames` is sized and
  // written; the builder keeps a view of it.
  FrameBuilder(const ModelConfig& config, const FrameLayout& layout, const ChunkPart& part,
               std::int64_t firstRow, std::span<TraceFrame> frames);

  Observe observeLayer(int layerIdx) const;
  void recurrent(int layerIdx, const RecurrentView& view);
  void attention(int layerIdx, const AttentionView& view);

 private:
  std::int64_t rowOf(std::size_t frame) const { return firstRow_ + static_cast<std::int64_t>(frame); }
  float* at(std::size_t row, const TraceColumn& column) const;
  void copyChannels(int layerIdx, Quantity quantity, const float* source);
  void copyWeights(const TraceColumn& column, const AttentionView& view);

  const ModelConfig& config_;
  const FrameLayout& layout_;
  std::int64_t firstRow_;
  std::int64_t firstPosition_;
  const ChunkEdits* edits_;
  std::span<TraceFrame> frames_;
  std::vector<float> order_;  // scratch of the quantiles
};

// Half-lives ln 1/2 / log_a of some channels at `levels` in [0, 1], linear between neighbours as numpy does.
// Reorders `logDecay`. A channel that never forgets has an infinite half-life.
void halfLifeQuantiles(std::span<float> logDecay, std::span<const double> levels, float* out);

}  // namespace eyrie::engine
