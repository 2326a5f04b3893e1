// What is changed while a model reads and writes: clamped gates, scaled states, blocks and heads left out,
// smaller windows. A value: a list of rules, the same as text on the command line, in traces and in windows.
//
//   layer 4-7 recurrence_gate[0:64] = 0.1; layer 8 attention off; layer 8 head 2 off;
//   layer 3 state *= 0.5 @100-200; window = 64; layer 5 mlp off
//
//   rule   = [layer N | N-M | N-] target action [@ P | P-Q | P-]
//   target = NAME [ [C] | [C:D] | [C:] | [:D] ]  |  head N | N-M | N- [channels likewise]
//   action = = NUMBER  |  *= NUMBER  |  off
//
// Ranges with '-' have both ends, [C:D] leaves D out, as Python does. Rules stand between ';'. No layer:
// every layer that has the target; a range of layers: those of them that have it. `off` is `= 0`. @ gives
// absolute positions in the sequence, the first token being 0; without it a rule always acts. Rules act in
// the order written, each on what those before it left; taking a rule away is as if it had never been there.
//
// Where each target acts (REFERENCE §1.2's letters). Everything that follows is computed from what it leaves:
// clang-format off
//   conv             (R)   c, the convolution's output, so both gates and what is written. The convolution's
//                          tail keeps its own inputs, untouched.
//   recurrence_gate  (R)   r after its sigmoid, 0 to 1; log_a = -8 r softplus(p) follows, and the multiplier.
//   input_gate       (R)   i after its sigmoid, 0 to 1.
//   decay            (R)   a, 0 to 1, as ln a; the multiplier sqrt(1 - a²) follows: 1 freezes the state, 0
//                          forgets it before each write.
//   multiplier       (R)   sqrt(1 - a²) alone, 0 to 1.
//   state            (R)   h after each token's update, before the output sees it and the next token decays it.
//   recurrence       (D)   what a recurrent block adds to the hidden state (linear_out's output with its bias).
//   attention        (D)   what an attention block adds likewise (o_proj's output with its bias).
//   head             (Dh)  the mixed values of some heads, before o_proj.
//   mlp              (D)   what the MLP adds to the hidden state.
//   block            (D)   both: what the layer's temporal block adds, and its MLP. Off: the layer is skipped.
//   window                 attention_window_size of a local-attention layer, 1 to the model's own, counted as
//                          the model counts it. Older keys stay in the ring, so a larger window sees them again.
// clang-format on
// Gates, decay, multiplier and state are of the real RG-LRU; models with complex states are refused there.
// A scaled gate, decay or multiplier is limited to 1, after all its rules; these four are never negative.
//
// Position 0: the reset stands in for decay and for the multiplier that follows from it (a = 0, sqrt = 1), so
// `decay = 1` keeps the first token's write for good; `multiplier`, `input_gate` and `state` rules act there
// as anywhere. States, tails, keys and values advance in a block that adds nothing as in any other.
// Traces show what was computed: gates, decay and log_decay after their rules, write with the multiplier's,
// state after its own (so it is not keep + write where a state rule acts); attention weights do not know of
// `head`.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::engine {

enum class InterventionTarget : std::uint8_t {
  recurrenceGate,
  inputGate,
  decay,
  multiplier,
  state,
  conv,
  recurrence,
  attention,
  head,
  mlp,
  block,
  window,
};

enum class InterventionAction : std::uint8_t { set, scale };

// first..end-1. Everything unless said otherwise.
struct IndexRange {
  static constexpr std::int64_t kOpen = std::numeric_limits<std::int64_t>::max();
  std::int64_t first = 0;
  std::int64_t end = kOpen;
  bool all() const { return first == 0 && end == kOpen; }
  bool contains(std::int64_t index) const { return index >= first && index < end; }
  bool operator==(const IndexRange&) const = default;
};

struct Intervention {
  InterventionTarget target = InterventionTarget::state;
  InterventionAction action = InterventionAction::set;
  double value = 0;
  IndexRange layers;
  IndexRange heads;  // of target `head` only
  IndexRange channels;
  IndexRange tokens;  // positions
  bool operator==(const Intervention&) const = default;
};

using Interventions = std::vector<Intervention>;

const char* targetName(InterventionTarget target);  // "recurrence_gate"

// Empty text is no rules. Throws Error(badArgument): where in the text, what was expected, what was found.
Interventions parseInterventions(std::string_view text);
// Canonical text: parse(print(x)) == x for whatever parse gives.
std::string printIntervention(const Intervention& rule);
std::string printInterventions(const Interventions& rules);  // with "; " between

// Names the model together with what is changed in it, for states that must not be mixed up: `fingerprint`
// itself when there are no rules.
std::string stateFingerprint(const std::string& fingerprint, const Interventions& rules);

}  // namespace eyrie::engine
