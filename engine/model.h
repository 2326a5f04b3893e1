// A loaded model: const after load. Reads tokens into a SequenceState, gives logits, reports taps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/checkpoint.h"
#include "engine/ranked_logits.h"
#include "engine/sequence_state.h"
#include "engine/taps.h"

namespace eyrie::engine {

struct CpuOps;

enum class BackendKind : std::uint8_t { automatic, reference, cpu, cuda };

struct LoadOptions {
  BackendKind backend = BackendKind::automatic;
  int threads = 0;  // 0 = all cores
  // What the large matrices are converted to; none, or f32, which changes no value: as stored. The embedding
  // table and the gates stay as stored.
  std::optional<kernels::DType> weights;
  // From this size on matrices used as stored are moved into huge pages in the background (weight_mover.h).
  std::uint64_t movedFrom = std::uint64_t{256} << 20;
  // Where quantised matrices are kept between loads (weight_cache.h), and what was measured of cards
  // (kept_crossovers.h); empty: nowhere.
  std::filesystem::path cacheFolder;
  // Instead of the backend's own kernels (cpu_ops.h), for those who time them; outlives the model.
  const CpuOps* ops = nullptr;
  // false: a card is given a step's kernels one by one, for those who compare the graph with them.
  bool graphs = true;
  // Called between tensors from the loading thread, 0..1.
  std::function<void(double fraction)> progress;
  std::stop_token stop;  // throws Error(cancelled)
};

// The conversion called "bf16", "f16", "int8" or "int4"; none for any other word: as stored.
std::optional<kernels::DType> conversionNamed(std::string_view word);

// Which logits a call returns.
enum class LogitRows : std::uint8_t { none, last, all };

// Receives frames, logits and progress of a prefill in order of position, on the calling thread.
class PrefillObserver {
 public:
  virtual ~PrefillObserver() = default;
  // Logits predicting position + 1, (V), valid during the call. Only for LogitRows::all (every position).
  virtual void onLogits(std::int64_t position, std::span<const float> logits) {
    (void)position;
    (void)logits;
  }
  // Only when `trace` was given.
  virtual void onFrame(const TraceFrame& frame) { (void)frame; }
  // After each layer of a chunk: how many tokens' work this call has done.
  virtual void onWork(double tokens) { (void)tokens; }
};

// One sequence's share of a step of several.
struct SequenceStep {
  SequenceState* state = nullptr;
  std::int32_t token = 0;
  TraceFrame* frame = nullptr;  // null: not observed
  kernels::DrawRule draw = {};  // how the token after it will be drawn, for predict()
};

// What a step predicts: all logits, or of a card's the largest.
struct Prediction {
  std::span<const float> logits;  // (V); empty where `ranked` is there
  std::optional<RankedLogits> ranked;
};

// One thread at a time may compute with a model (the backend's scratch is shared); reading config() is free.
class Model {
 public:
  static std::shared_ptr<Model> load(std::shared_ptr<const Checkpoint> checkpoint,
                                     const LoadOptions& options = {});
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const Checkpoint& checkpoint() const = 0;
  virtual std::string backendName() const = 0;  // "cpu · AVX2 · 2 threads"
  // Why it is "without" something, where it is: of no account to what is kept under its name.
  virtual std::string backendRemark() const = 0;
  // What summarise() says of the checkpoint, with the type and bytes of converted weights.
  virtual ModelSummary summary() const = 0;
  // The checkpoint's; "-int8" follows where weights were converted: their states are not those of the
  // original.
  virtual std::string fingerprint() const = 0;
  virtual std::uint64_t stepBytes() const = 0;  // of weights that one step reads
  virtual SequenceState newState() const = 0;
  virtual SequenceState restoreState(const HostState& state) const = 0;  // throws Error(stateMismatch)

  // What `state` is to be read with stands in it (SequenceState::intervene).
  // Feeds tokens in chunks of at most maxChunk() rows (any chunking gives the same result within tolerance;
  // the reference backend gives the same bits). Returns the last position's logits (V), empty for
  // LogitRows::none. Stops between two layers when `stop` asks: the state then holds the whole chunks fed.
  // Throws Error(badArgument) for a token outside [0, V), before anything is fed.
  virtual std::vector<float> prefill(SequenceState& state, std::span<const std::int32_t> tokens,
                                     LogitRows rows, PrefillObserver* observer = nullptr,
                                     const FrameLayout* trace = nullptr, std::stop_token stop = {},
                                     std::int64_t chunk = 0) = 0;
  // One token of each of 1 to maxChunk() sequences, for which the weights are read once: logits (n, V) in
  // their order, valid until the next call. Every sequence gets the bits that a step of its own would give,
  // on a card what the tolerances allow (cuda_backend.h). No frames: taps are off and cost nothing. Throws
  // Error(badArgument), before anything is fed, for a token outside [0, V), a state given twice, or too many.
  virtual std::span<const float> step(std::span<const SequenceStep> steps,
                                      const FrameLayout* trace = nullptr) = 0;
  // Of one sequence: logits (V).
  std::span<const float> step(SequenceState& state, std::int32_t token, TraceFrame* frame = nullptr,
                              const FrameLayout* trace = nullptr) {
    const SequenceStep one{&state, token, frame};
    return step(std::span(&one, 1), trace);
  }
  // As step(), for those who draw from what is predicted: on a card the logits stay there, and the card
  // draws. In the order of the steps, valid until the next call.
  virtual std::span<const Prediction> predict(std::span<const SequenceStep> steps,
                                              const FrameLayout* trace = nullptr) = 0;
  // Of one sequence.
  Prediction predict(SequenceState& state, std::int32_t token, const kernels::DrawRule& draw,
                     TraceFrame* frame = nullptr, const FrameLayout* trace = nullptr) {
    const SequenceStep one{&state, token, frame, draw};
    return predict(std::span(&one, 1), trace).front();
  }
  // All logits (V) that the last predict()'s prediction number `which` is about, valid until the next call.
  virtual std::span<const float> predictedLogits(std::int64_t which = 0) = 0;
  virtual std::int64_t maxChunk() const = 0;  // rows
};

}  // namespace eyrie::engine
