// The only virtual seam below the model, at block granularity, so that a backend may fuse freely and keep
// activations where it likes. The layer loop stands once, in model.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/ranked_logits.h"
#include "engine/sequence_state.h"

namespace eyrie::engine {

struct ChunkEdits;

// What a block is asked to show. `summary` needs everything that the summary is made from.
enum class Observe : std::uint8_t { nothing, summary, full };

inline constexpr std::int64_t kRecurrentSummary = 10;  // numbers

// Host memory of the chunk just computed, the rows of its sequences one after the other; valid until the
// backend's next call. C is ModelConfig::channels(): R, or R / 2 complex channels, whose (T, R) arrays are
// rows of C real and then C imaginary parts. Null pointers when nothing was asked for; `decay` and `angle`
// only for Observe::full, `angle` only of a complex recurrence. Where there is a `summary`, Observe::summary
// may show nothing else.
struct RecurrentView {
  const float* recurrenceGate = nullptr;  // (T, C)
  const float* inputGate = nullptr;       // (T, C)
  const float* logDecay = nullptr;        // (T, C), log |a|
  const float* decay = nullptr;           // (T, C), |a|
  const float* angle = nullptr;           // (T, C), the argument of a in radians
  const float* write = nullptr;           // (T, R)
  const float* keep = nullptr;            // (T, R)
  const float* state = nullptr;           // (T, R), h after each token
  // (T, kRecurrentSummary) or null: norm of the state, means of recurrence and input gate, norms of what is
  // written and kept, quantiles of half-lives.
  const float* summary = nullptr;
};

// Host memory: (T, H, span), column span-1 the token itself, span-1-j the token j back, 0 where there is
// none.
struct AttentionView {
  const float* weights = nullptr;  // may be null for Observe::summary where there is a `summary`
  std::int64_t span = 0;
  const float* summary = nullptr;  // (T, H, 2) or null: entropy, weight of the first visible token
};

// What one sequence reads in a chunk. All that is pointed to outlives the chunk.
struct ChunkPart {
  BackendState* state = nullptr;
  std::int64_t position = 0;             // of its first token
  std::span<const std::int32_t> tokens;  // at least one, all within [0, V)
  const ChunkEdits* edits = nullptr;  // what interventions change (interventions.h says where); null: nothing
};

// What a chunk will be asked for, so that its memory can be had beforehand.
struct ChunkPlan {
  Observe observe = Observe::nothing;  // the most any of its blocks will be asked to show
  std::int64_t headRows = 0;           // the most rows one call of head() will have; 0: none will come
  // How tokens are drawn from the rows of the ranked() that will come, headRows of them; empty: none will.
  std::span<const kernels::DrawRule> draws = {};
};

// One chunk at a time: begin, every layer's blocks in order, end, head as often as wanted. A chunk is T rows
// of one sequence or of several, one after the other; the weights are read once for all of them. The hidden
// activations (T, D) of the chunk belong to the backend. Used from one thread at a time.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  // Why there is not what name() says it is without, in a line; empty where it says nothing.
  virtual std::string remark() const { return {}; }
  virtual std::int64_t maxChunk() const = 0;  // rows of the largest chunk

  virtual std::unique_ptr<BackendState> newState() const = 0;
  // `state` has been checked against the configuration.
  virtual std::unique_ptr<BackendState> restoreState(const HostState& state) const = 0;

  // hidden = embedding rows of the tokens. At least one part, all states different. Among several parts, one
  // of a single token gets the bits it gets in a chunk of its own (on a card: what the tolerances allow).
  // What the chunk needs is allocated here, so that running out of memory does not leave a state half
  // advanced.
  virtual void begin(std::span<const ChunkPart> parts, const ChunkPlan& plan) = 0;
  // hidden += temporal block(norm(hidden))
  virtual RecurrentView recurrentBlock(int layerIdx, Observe observe) = 0;
  virtual AttentionView attentionBlock(int layerIdx, Observe observe) = 0;
  // hidden += MLP(norm(hidden))
  virtual void mlpBlock(int layerIdx) = 0;
  // Every state now holds its part's tokens.
  virtual void end() = 0;
  // Whether what the blocks of the chunk begun show is written only by showViews(), after end(): it travels,
  // and is used, while the head computes.
  virtual bool viewsComeLate() const { return false; }
  virtual void showViews() {}
  // Logits (rows, V) of rows firstRow.. of the chunk, soft-capped; host memory, valid until the next
  // call.
  virtual std::span<const float> head(std::int64_t firstRow, std::int64_t rows) = 0;
  // The same of each row, and what the plan's rule draws from it; the logits stay where they are; valid until
  // the next call. Nothing where the backend's logits are in host memory anyway.
  virtual std::span<const RankedLogits> ranked(std::int64_t firstRow, std::int64_t rows) {
    (void)firstRow;
    (void)rows;
    return {};
  }
};

}  // namespace eyrie::engine
