// A state as a file of its own, a card: safetensors that other programs open, with the tokens that made it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/interventions.h"
#include "engine/sequence_state.h"

namespace eyrie::engine {

struct SavedState {
  std::string model;            // its name when the state was made
  std::string fingerprint;      // of its weights
  std::string origin;           // how the state was made, for people: "read", "interpolate a.safetensors …"
  std::string text;             // what the tokens say; empty where the model has no tokenizer
  Interventions interventions;  // what was changed while it was read, or any part of a mixed one
  // What was read: state.position of them, or one more, which is still to be fed. A mixed state has those of
  // the one that stands where it stands, of two at one position the first one's (unless it is the second).
  std::vector<std::int32_t> tokens;
  ModelConfig config;  // only what a state's shapes follow from: blocks, L, R, rgLru, K, kvHeads, Dh, W
  HostState state;
};

// Tensors, f32 and oldest first: layers.{i}.rg_lru.h (R; of a complex recurrence all real, then all imaginary
// parts), layers.{i}.conv_1d.tail (K-1, R), layers.{i}.attention.keys and .values (n, KV heads, head size),
// after RoPE; `tokens` (T) i32. Metadata, all text: format "eyrie-state", version "1", model, fingerprint,
// origin, text (empty where it is longer than 8 MiB), interventions (empty or left out: none), rg_lru
// ("complex", or "real" also where left out), position, blocks (one letter a layer: R recurrent, A local, G
// global attention), older_keys (n of a full local window). Throws Error(ioFailed), Error(stateMismatch) for
// tokens or arrays that do not fit the position.
void writeStateFile(const std::filesystem::path& file, const SavedState& saved);

// Throws Error: badFile for anything that contradicts the above, a value that is no number, a tensor too
// many; notFound, ioFailed. `config` of the result has what the file says; of which model the state is, and
// whether it knows the tokens, is checkStateOf's to say.
SavedState readStateFile(const std::filesystem::path& file);
// The same of a file's bytes; `file` names it in errors.
SavedState parseStateFile(std::span<const std::byte> bytes, const std::string& file);

// Throws Error(stateMismatch), naming both, unless `saved` was made by the model with this fingerprint and
// configuration (V 0: of any vocabulary). `name` is the model's.
void checkStateOf(const SavedState& saved, const std::string& file, const ModelConfig& config,
                  const std::string& fingerprint, const std::string& name);

// Whether two fingerprints are of one checkpoint, whatever its weights were converted to: such states can be
// compared, but neither model goes on from the other's.
bool ofOneCheckpoint(std::string_view a, std::string_view b);

}  // namespace eyrie::engine
