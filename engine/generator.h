// Reads a context and writes after it, on the calling thread. The façade and the command line stand on it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/model.h"
#include "engine/sampler.h"

namespace eyrie::engine {

enum class StopReason : std::uint8_t { eos, turn, length, cancelled };
const char* stopReasonName(StopReason reason);  // "eos", "turn", "length", "cancelled"

struct GenerateOptions {
  int maxTokens = 128;  // 0 reads the context and writes nothing
  SamplingOptions sampling;
  TraceOptions trace{TraceLevel::off, {}, 512};
  std::vector<std::int32_t> eosTokens = {1};
  std::int32_t endOfTurn = -1;  // -1: none
  bool scoreContext = false;    // log-probabilities of the context's tokens as well
};

struct GenerateResult {
  StopReason stop = StopReason::length;
  std::uint64_t seed = 0;
  std::int64_t contextTokens = 0;   // fed by this call (a reused prefix is not counted)
  std::int64_t replayedTokens = 0;  // by the façade: fed again to take the sequence back to that prefix
  std::int64_t generatedTokens = 0;
  double prefillMs = 0;
  double decodeMs = 0;
  // The prediction after the last token fed (token -1); position -1 when reading was cancelled.
  TokenRecord next;
  double decodeTokensPerSecond() const { return decodeMs > 0 ? 1e3 * double(generatedTokens) / decodeMs : 0; }
};

class GenerateObserver {
 public:
  virtual ~GenerateObserver() = default;
  virtual void onToken(const TokenRecord& record) = 0;  // every token fed or emitted, by rising position
  virtual void onFrame(const TraceFrame& frame) { (void)frame; }
  virtual void onProgress(std::int64_t fed, std::int64_t total) {
    (void)fed;
    (void)total;
  }
  // Once, when all of the context but its last token is fed: the state worth keeping for another reply to the
  // same context.
  virtual void onLastToken(const SequenceState& state) { (void)state; }
};

// `state` holds the first state.position() tokens of `context`; the rest is fed, then up to maxTokens are
// emitted. Each emitted token is fed as well (also the one that stops), so afterwards the state holds context
// + emitted. With state.position() == context.size() the last prediction is missing: callers keep at least
// one token unfed.
GenerateResult generate(Model& model, SequenceState& state, std::span<const std::int32_t> context,
                        const GenerateOptions& options, GenerateObserver& observer,
                        std::stop_token stop = {});

}  // namespace eyrie::engine
