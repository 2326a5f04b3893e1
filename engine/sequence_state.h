// Everything that changes while a model reads: a value. Weights are elsewhere and const (DESIGN §4 rule 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/config.h"

namespace eyrie::engine {

// Host copy of one layer's state. Recurrent layers use h and tail, attention layers keys and values.
struct LayerState {
  std::vector<float> h;       // (R)
  std::vector<float> tail;    // (K-1, R) inputs of the convolution, oldest first
  std::vector<float> keys;    // (n, kvHeads, Dh) after RoPE, oldest first; n = min(older, position)
  std::vector<float> values;  // (n, kvHeads, Dh)
};

struct HostState {
  std::int64_t position = 0;  // tokens fed so far
  std::vector<LayerState> layers;

  std::uint64_t bytes() const;
};

// A backend's own representation (CPU: rings in host memory; CUDA: device memory).
class BackendState {
 public:
  virtual ~BackendState() = default;
  virtual std::unique_ptr<BackendState> clone() const = 0;
  // Of keys and values at most the newest `newestKeys` of each layer.
  virtual HostState download(std::int64_t newestKeys) const = 0;
  virtual std::uint64_t bytes() const = 0;
};

class InterventionPlan;
class SequenceState;

// Is told of every chunk a sequence was fed, after it; a single step is a chunk of one token.
class FeedObserver {
 public:
  virtual ~FeedObserver() = default;
  virtual void onFed(const SequenceState& state, std::span<const std::int32_t> tokens) = 0;
};

// Movable, copied only by clone(). Used by one thread at a time. Belongs to the Model that made it.
class SequenceState {
 public:
  SequenceState(std::unique_ptr<BackendState> impl, std::int64_t position);
  SequenceState(SequenceState&&) noexcept;
  SequenceState& operator=(SequenceState&&) noexcept;
  ~SequenceState();

  std::int64_t position() const { return position_; }
  SequenceState clone() const;  // nobody watches the copy
  // Of keys and values at most the newest `newestKeys` of each layer: less than all is no whole state.
  HostState download(std::int64_t newestKeys = INT64_MAX) const;
  std::uint64_t bytes() const;
  // `observer` outlives the state or is replaced before it goes; null: nobody.
  void watch(FeedObserver* observer) { observer_ = observer; }

  // What is changed in everything fed from now on; null: nothing. A clone keeps it, a HostState does not.
  void intervene(std::shared_ptr<const InterventionPlan> plan) { interventions_ = std::move(plan); }
  const std::shared_ptr<const InterventionPlan>& interventions() const { return interventions_; }

  // For the model that advances it.
  BackendState& impl() { return *impl_; }
  void advance(std::span<const std::int32_t> tokens);
  // Undoes a chunk given up: the state is `earlier` again, with the same observer.
  void takeBack(SequenceState earlier);

 private:
  std::unique_ptr<BackendState> impl_;
  std::int64_t position_ = 0;
  FeedObserver* observer_ = nullptr;
  std::shared_ptr<const InterventionPlan> interventions_;
};

// Keys a layer holds after `position` tokens: n of LayerState.
std::int64_t rememberedKeys(const ModelConfig& config, std::int64_t layerIdx, std::int64_t position);
// Throws Error(stateMismatch) where the arrays do not have the shapes of `config` at the state's position.
void checkState(const HostState& state, const ModelConfig& config);

// Versioned envelope: magic, version, model fingerprint, position, dtype, shapes, payload, checksum. Exact.
std::vector<std::byte> serialiseState(const HostState& state, const std::string& fingerprint);
// Throws Error(stateMismatch): damaged, newer version, other model (both fingerprints in the message), wrong
// shapes.
HostState parseState(std::span<const std::byte> bytes, const ModelConfig& config,
                     const std::string& fingerprint);

}  // namespace eyrie::engine
