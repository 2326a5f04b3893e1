// The façade: one model, one thread of its own, commands in, events out. Several engines may live side by
// side.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/events.h"
#include "engine/interventions.h"
#include "engine/model.h"

namespace eyrie::engine {

struct LoadRequest {
  std::string model;  // what locateModel understands
  BackendKind backend = BackendKind::automatic;
  int threads = 0;
  std::optional<kernels::DType> weights = std::nullopt;  // LoadOptions
};

struct RunRequest {
  std::vector<std::int32_t> context;  // everything before the first token to write
  GenerateOptions options;
  bool snapshot = false;  // deliver the state with `finished`
  Interventions interventions = {};
};

// Receives a whole run, on the engine thread. Throwing Error ends the request with `failed`.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void begin(const ModelInfo& model, const FrameLayout& layout, std::int64_t tokens) = 0;
  virtual void token(const TokenRecord& record) = 0;
  virtual void frame(const TraceFrame& frame) = 0;
  // Once, after the last token and before end(): the prediction of what would follow it (record.token -1).
  virtual void prediction(const TokenRecord& next) { (void)next; }
  virtual void end() = 0;      // make the result visible (rename into place)
  virtual void abandon() = 0;  // cancelled or failed: leave nothing behind; must not throw
};

// Commands may be called from any thread and return at once. poll* belong to one consumer thread.
// A request runs after those before it. The engine thread catches everything once, at its top.
class Engine {
 public:
  Engine();
  ~Engine();  // cancels, joins
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  RequestId load(LoadRequest request);
  // Reuses the longest prefix of `context` that a sequence at hand (the live one, one left before, a
  // remembered snapshot), read with the same interventions, can be taken back to, exactly (StateLog), so
  // editing a late message re-reads only what follows; within a chunk that was read at once, from its start.
  // Positions reused are not reported.
  RequestId run(RunRequest request);
  // Teacher-forces `tokens`; result for positions first..end.
  RequestId score(std::vector<std::int32_t> tokens, std::int64_t first, Interventions interventions = {});
  // Re-reads `tokens` from the start and hands every record and frame to the sink.
  RequestId trace(std::vector<std::int32_t> tokens, TraceOptions options, std::shared_ptr<TraceSink> sink,
                  Interventions interventions = {});
  // Makes the snapshot's state available to later runs. `failed` (stateMismatch) when it belongs to another
  // model.
  RequestId remember(std::shared_ptr<const Snapshot> snapshot);
  // Queued: dropped when its turn comes; running: stops within one token (a run while writing; reading and
  // loading: within one chunk or tensor).
  void cancel(RequestId request);
  void cancelAll();

  bool poll(EngineEvent& event);
  bool pollFrame(TraceFrame& frame);
  std::uint64_t droppedFrames() const;
  // Called on the engine thread after an event or a frame was added while none were pending, and within a
  // poll that finds no event but frames left to take: post to your own loop, do not poll.
  void setWake(std::function<void()> wake);
  // A request is queued or running, or its last event (loaded, finished, scored, traceWritten, failed or
  // cancelled: each request ends with one, `remember` only when it fails) has not been polled yet.
  bool busy() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eyrie::engine
