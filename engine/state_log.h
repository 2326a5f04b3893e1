// The history of one sequence, so that it can be taken back to any token: key-frames (h and convolution tails
// every N tokens) with the keys and values each added, and the plan, that is the chunks and single steps by
// which the tokens were fed. A window refilled from too few keys would corrupt the recurrences above it
// (UX §6), so the window before a key-frame is put together from the keys kept with it and those before it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <stop_token>
#include <unordered_set>
#include <vector>

#include "engine/interventions.h"
#include "engine/model.h"

namespace eyrie::engine {

struct StateLogOptions {
  std::int64_t interval = 64;                         // tokens between key-frames
  std::uint64_t maxBytes = std::uint64_t{512} << 20;  // the oldest key-frames beyond it go
};

struct Rewound {
  SequenceState state;
  // Bit-equal to the sequence's own state there. False inside a chunk of several tokens, where the sequence
  // never stood: the chunk's first tokens are then fed as a shorter one, within the tolerance table.
  bool exact = true;
  std::int64_t replayed = 0;  // tokens fed again since the key-frame
};

// A value: a copy is a fork and shares the key-frames. Records while a SequenceState watched by it is fed;
// between key-frames that costs the token and the plan (12 bytes), at a key-frame 4·K·R bytes per recurrent
// layer and 8·KV heads·Dh bytes per attention layer and token since the last one. A RecurrentGemma 2B costs
// 28 KB a token at the interval of 64, a Hawk of its size 17 KB. One thread.
class StateLog final : public FeedObserver {
 public:
  explicit StateLog(const ModelConfig& config, const StateLogOptions& options = {});
  // Begins with `state`, which `tokens` made; positions before it cannot be reached.
  StateLog(const ModelConfig& config, std::vector<std::int32_t> tokens, HostState state,
           const StateLogOptions& options = {});

  // What the watched sequence is read with, from its first token to its last; replaying does so too.
  void intervene(std::shared_ptr<const InterventionPlan> plan) { interventions_ = std::move(plan); }
  const Interventions& rules() const;

  void onFed(const SequenceState& state, std::span<const std::int32_t> tokens) override;
  // A key-frame now, whatever the interval. `state` stands where the log ends.
  void keep(const SequenceState& state);

  const std::vector<std::int32_t>& tokens() const { return tokens_; }
  std::int64_t position() const { return static_cast<std::int64_t>(tokens_.size()); }
  // The last position up to `position` at which the sequence stood between two chunks and to which it can be
  // taken back; -1: none.
  std::int64_t boundary(std::int64_t position) const;
  // Restores the key-frame at or before `position` (0 to position()) and replays the plan from there. Asked
  // to stop, or cancelled within a chunk, the state is an earlier one of the sequence. `model` is the one
  // that was watched. Throws Error(badArgument) where boundary() is -1.
  Rewound rewind(Model& model, std::int64_t position, const std::stop_token& stop = {},
                 const std::function<void(std::int64_t position)>& progress = {}) const;
  // What is known of the first `position` tokens: the log of a state taken back to there.
  StateLog until(std::int64_t position) const;
  std::int64_t lastKeyFrame() const;  // its position; -1: none

  std::uint64_t bytes() const;
  // Only what is not in `counted` yet, which forks share; adds it there.
  std::uint64_t bytes(std::unordered_set<const void*>& counted) const;

 private:
  // h and tails at a position; keys and values only of the positions since the key-frame before, as far as
  // the layer remembers them. Without layers: a new sequence.
  using KeyFrame = std::shared_ptr<const HostState>;

  std::int64_t keysIn(const KeyFrame& frame, std::int64_t layerIdx) const;
  bool hasWindow(std::size_t frameIdx) const;
  std::ptrdiff_t frameBefore(std::int64_t position) const;  // usable; -1: none
  HostState assemble(std::size_t frameIdx) const;
  void add(KeyFrame frame);

  std::shared_ptr<const ModelConfig> config_;
  std::shared_ptr<const InterventionPlan> interventions_;
  StateLogOptions options_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::int64_t> ends_;  // position after each chunk
  std::deque<KeyFrame> frames_;     // rising positions
  std::uint64_t frameBytes_ = 0;
};

}  // namespace eyrie::engine
