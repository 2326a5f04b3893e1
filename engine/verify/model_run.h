// Runs a model over tokens in a chosen way and keeps everything it says, for comparison.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/model.h"
#include "engine/verify/check.h"

namespace eyrie::engine::verify {

// Everything a model said of T tokens. Small models only: (T, V) logits are held.
struct ModelRun {
  std::vector<float> logits;                         // (T, V)
  std::map<std::string, std::vector<float>> traces;  // column name → (T, size)
  HostState state;                                   // after the last token

  // The state's arrays as golden/README.md names them: "layers.0.rg_lru.h" …
  std::map<std::string, std::vector<float>> stateArrays() const;
};

// How the tokens are fed, one after the other: chunks of `chunk` rows, 0 = single steps.
struct Feeding {
  const char* name;
  std::int64_t chunk;
};
inline constexpr Feeding kPrefill{"prefill", 256};
inline constexpr Feeding kSteps{"steps", 0};
inline constexpr Feeding kOddChunks{"chunks of 7", 7};

// Feeds `tokens` to `state` and appends what was said to `run` (its state is downloaded last). `layout` null:
// no traces.
void feed(Model& model, SequenceState& state, std::span<const std::int32_t> tokens, const Feeding& feeding,
          const FrameLayout* layout, ModelRun& run);
ModelRun runModel(Model& model, std::span<const std::int32_t> tokens, const Feeding& feeding,
                  const FrameLayout* layout = nullptr);

// One sequence's share of a backend's chunk.
struct ChunkShare {
  BackendState* state;
  std::int64_t position;
  std::vector<std::int32_t> tokens;
};
// All logits (T, V) of a chunk of them, unobserved.
std::vector<float> chunkLogits(Backend& backend, const ModelConfig& config,
                               const std::vector<ChunkShare>& shares);

// Logits and state of `found` against `expected`, one result each (the worst of the state's arrays).
std::vector<CheckResult> compareRuns(const std::string& name, const ModelRun& found, const ModelRun& expected,
                                     const Tolerance& logits, const Tolerance& state);

}  // namespace eyrie::engine::verify
