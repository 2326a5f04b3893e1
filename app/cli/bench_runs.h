// The timed parts of eyrie-cli bench. Each is run several times; what must be moved and computed at least is
// counted from the model's shapes, so that a figure can be set against the machine's ceiling.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "app/cli/model_options.h"
#include "kernels/op_cost.h"
#include "kernels/thread_pool.h"

namespace eyrie::app {

// Which ceiling limits it.
enum class Limit : std::uint8_t { bandwidth, arithmetic, none };

struct BenchResult {
  std::string name;
  std::int64_t tokens = 0;   // in one run
  std::int64_t context = 0;  // position at which it began
  Limit limit = Limit::none;
  double bytes = 0;  // one run must move these at least
  double flops = 0;
  std::vector<double> seconds;  // of each run, sorted

  double median() const { return seconds[seconds.size() / 2]; }
  double tokensPerSecond() const { return double(tokens) / median(); }
};

// Thrown Error(cancelled) where `stop` asks, between steps.
class BenchRuns {
 public:
  BenchRuns(const LoadedModel& loaded, kernels::ThreadPool& pool, int repeats, std::stop_token stop);

  // `tokens` single steps from position `context`, the window filled; a context that was never read.
  BenchResult decode(std::int64_t tokens, std::int64_t context);
  // Steps without a trace, with a summary and with everything, taken in turns.
  std::vector<BenchResult> tracedDecode(std::int64_t tokens, std::int64_t context);
  // `tokens` read at once, with the last one's logits.
  BenchResult prefill(std::int64_t tokens, std::int64_t context);
  // The RG-LRU alone: `tokens` of R channels.
  BenchResult scan(std::int64_t tokens);
  // A copy of the state at position `context`.
  BenchResult snapshot(std::int64_t context);
  // Back to the middle of a conversation of `tokens`, read in part and written in part: to a key-frame, and
  // to the place furthest from one.
  std::vector<BenchResult> rewind(std::int64_t tokens);

 private:
  engine::SequenceState stateAt(std::int64_t context) const;
  double visibleKeys(std::int64_t position) const;  // summed over the attention layers
  double weightBytes() const;                       // that one step reads
  double matrixParameters() const;                  // beside embedding and head
  void decodeOnce(engine::SequenceState& state, std::int64_t tokens, engine::TraceFrame* frame,
                  const engine::FrameLayout* layout);
  // The time of `work`, once for nothing and then as often as asked.
  BenchResult measured(BenchResult result, const std::function<void()>& work) const;
  BenchResult describeDecode(std::string name, std::int64_t tokens, std::int64_t context) const;
  BenchResult timedScan(std::int64_t tokens, const kernels::OpCost& cost, const std::function<void()>& run);
  void checkStop() const;

  const LoadedModel& loaded_;
  engine::Model& model_;
  const engine::ModelConfig& config_;
  kernels::ThreadPool& pool_;
  int repeats_;
  std::stop_token stop_;
};

}  // namespace eyrie::app
