// Arithmetic on states of one model, on the host: pure functions. A state of another shape than `config` says
// is refused with Error(stateMismatch), as checkState does.
//
// What has meaning at different positions: h and the convolution's tail carry no position. Keys do (RoPE
// turns them by it, and a layer holds those just before the state's position), so attention layers are
// compared where both states hold the same positions, and mixed or moved only between states at one position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence_state.h"

namespace eyrie::engine {

// Of two arrays a and b of equal length. Nothing to compare: all zero, cosine NaN.
struct ArrayDifference {
  double difference = 0;  // ‖a − b‖
  double normA = 0;
  double normB = 0;
  double relative = 0;  // ‖a − b‖ / ‖b‖: 0 where both are zero, infinite where only b is
  double cosine = 0;    // NaN where either is zero
};

struct LayerDifference {
  ArrayDifference h;
  ArrayDifference tail;
  std::vector<ArrayDifference> blocks;  // h by blocks of channels; empty for attention layers
  std::int64_t sharedKeys = 0;          // positions that both hold in this layer
  ArrayDifference keys;                 // of those
  ArrayDifference values;
};

// Layer by layer; h also in `blocks` equal runs of channels (the last may be shorter), at most one a channel.
// A complex channel's two parts count together. Throws Error(badArgument) for less than one block.
std::vector<LayerDifference> difference(const HostState& a, const HostState& b, const ModelConfig& config,
                                        std::int64_t blocks = 16);

// (1 − t)·a + t·b of every array, t any finite number; a itself at t = 0 and b itself at t = 1, to the bit.
// RoPE is linear, so mixed keys are the keys of mixed inputs. Where no layer attends, the positions may
// differ and the result stands at the later one. Throws Error(stateMismatch) where a layer attends and the
// positions differ, Error(badArgument) for a t that is no number or makes numbers f32 cannot hold.
HostState interpolate(const HostState& a, const HostState& b, double t, const ModelConfig& config);

// `into` with the listed layers (each 0 to L-1) of `from`. Throws Error(badArgument) for a layer that is not
// there, Error(stateMismatch) where a listed layer attends and the positions differ, or where only `into`
// stands at position 0, whose rule forgets every h.
HostState transplant(HostState into, const HostState& from, std::span<const std::int64_t> layers,
                     const ModelConfig& config);

}  // namespace eyrie::engine
