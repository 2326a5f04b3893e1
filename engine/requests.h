// What the engine's thread does for each request: owns the model in use and the states at hand. Knows nothing
// of queues; reports through the outbox. One thread.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/engine.h"
#include "engine/outbox.h"
#include "engine/state_cache.h"

namespace eyrie::engine {

// Every function ends its request with one event, or throws: Error(cancelled) where there is no result to
// give, else what went wrong. `loaded` state is untouched by a load that throws.
class Requests {
 public:
  explicit Requests(Outbox& outbox) : outbox_(outbox) {}

  void load(RequestId id, const LoadRequest& request, const std::stop_token& stop);
  void run(RequestId id, const RunRequest& request, const std::stop_token& stop);
  void score(RequestId id, std::span<const std::int32_t> tokens, std::int64_t first,
             const Interventions& interventions, const std::stop_token& stop);
  void trace(RequestId id, std::span<const std::int32_t> tokens, const TraceOptions& options, TraceSink& sink,
             const Interventions& interventions, const std::stop_token& stop);
  // The only one without an event.
  void remember(const Snapshot& snapshot);
  // After Error(deviceFailed): the same model on the CPU, where it was on a card. What was read is read again
  // from key-frames, which lie in the host's memory.
  void leaveCard();

 private:
  // A sequence and its log, which the state tells of every chunk: neither moves.
  struct Live {
    Live(StateLog history, SequenceState now) : log(std::move(history)), state(std::move(now)) {
      state.watch(&log);
    }
    Live(const Live&) = delete;
    Live& operator=(const Live&) = delete;

    StateLog log;
    SequenceState state;
  };
  using Plan = std::shared_ptr<const InterventionPlan>;
  class RunObserver;
  class TraceForwarder;

  void use(RequestId id, const LoadRequest& request, std::shared_ptr<Model> model,
           std::shared_ptr<const ModelInfo> info);
  Model& model();
  // Where the most of `context`, and at most `limit` tokens, need not be read with `interventions`.
  StateCache::Found furthest(std::span<const std::int32_t> context, std::int64_t limit,
                             const Interventions& interventions);
  bool isLive(const StateCache::Found& start) const;
  // A state of its own there, or a new one to be read with `plan`; asked to stop, one before it.
  Rewound stateAt(const StateCache::Found& start, const Plan& plan, RequestId id, std::size_t total,
                  const std::stop_token& stop);
  // The live sequence where it stands at `start`, else a new one; `replayed` tokens were fed again for it.
  std::unique_ptr<Live> takeUp(const StateCache::Found& start, const Plan& plan, RequestId id,
                               std::size_t total, const std::stop_token& stop, std::int64_t& replayed);

  Outbox& outbox_;
  std::shared_ptr<Model> model_;
  std::shared_ptr<const ModelInfo> info_;
  LoadRequest loaded_;          // what asked for them
  std::unique_ptr<Live> live_;  // where the last run ended
  StateCache cache_{32, std::uint64_t{512} << 20};
};

}  // namespace eyrie::engine
