// What the engine's thread does for each request: owns the model in use and the states at hand. Knows nothing
// of queues; reports through the outbox. One thread.
#pragma once

#include <memory>
#include <optional>
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

 private:
  struct Live {
    std::vector<std::int32_t> tokens;
    SequenceState state;
  };
  class RunObserver;
  class TraceForwarder;

  Model& model();
  // A state of the longest prefix of `context` with at most `limit` tokens read with `interventions`, else a
  // new one, which they are set to. `consume`: the live state may be taken instead of copied.
  Live bestStart(std::span<const std::int32_t> context, std::size_t limit, const Interventions& interventions,
                 bool consume);

  Outbox& outbox_;
  std::shared_ptr<Model> model_;
  std::shared_ptr<const ModelInfo> info_;
  std::optional<Live> live_;  // where the last run ended
  StateCache cache_{32, std::uint64_t{512} << 20};
};

}  // namespace eyrie::engine
