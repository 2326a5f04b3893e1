// What the engine thread tells the outside: one ring of events (never dropped) and one of frames (may drop,
// counted).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint.h"
#include "engine/error.h"
#include "engine/generator.h"
#include "engine/interventions.h"
#include "engine/taps.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"

namespace eyrie::engine {

using RequestId = std::uint64_t;

// What is known of the model in use. Immutable, shared.
struct ModelInfo {
  std::string name;  // as located: "griffin", "org/name", folder name
  std::filesystem::path folder;
  ModelSummary summary;
  std::string fingerprint;
  std::string backend;
  std::shared_ptr<const Tokenizer> tokenizer;  // null: token lists only
  ChatFormat chat;
};

// A state with the tokens and the interventions that made it.
struct Snapshot {
  std::vector<std::int32_t> tokens;
  std::vector<std::byte> state;  // serialiseState
  std::string fingerprint;       // stateFingerprint: with interventions not the model's own
  Interventions interventions = {};
};

// Log-probabilities of every vocabulary entry at positions first..first+rows-1 (each predicting the token
// there).
struct ScoreResult {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t V = 0;
  std::vector<float> logprobs;  // (rows, V)
};

enum class EventKind : std::uint8_t {
  loadProgress,   // fraction
  loaded,         // model; request 0: the card failed, and from now on the CPU computes
  readProgress,   // done, total tokens of the context
  token,          // token
  finished,       // result, snapshot (when asked for)
  scored,         // score
  traceProgress,  // done, total
  traceWritten,   //
  failed,         // error text; the previous model stays usable
  cancelled,      // a queued request that never ran, or a cancelled load/trace/score
};

struct EngineEvent {
  EventKind kind = EventKind::token;
  RequestId request = 0;
  TokenRecord token;
  double fraction = 0;
  std::int64_t done = 0;
  std::int64_t total = 0;
  GenerateResult result;
  std::shared_ptr<const ModelInfo> model;
  std::shared_ptr<const Snapshot> snapshot;
  std::shared_ptr<const ScoreResult> score;
  std::shared_ptr<const Error> error;
};

}  // namespace eyrie::engine
