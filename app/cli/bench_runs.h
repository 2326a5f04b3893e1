// The timed parts of eyrie-cli bench. Each is run several times; what must be moved and computed at least is
// counted from the model's shapes, so that a figure can be set against the machine's ceiling.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "app/cli/bench_ceilings.h"
#include "app/cli/model_options.h"
#include "kernels/op_cost.h"
#include "kernels/thread_pool.h"

namespace eyrie::app {

struct BenchResult {
  std::string name;
  std::int64_t tokens = 0;   // in one run, of all sequences
  std::int64_t batch = 1;    // sequences
  std::int64_t context = 0;  // position at which it began
  Limit limit = Limit::none;
  double bytes = 0;  // one run must move these at least
  double flops = 0;
  std::vector<double> seconds;   // of each run, in order
  std::vector<double> ceilings;  // of `limit`, before, between and after the runs
  double besideProducts = 0;     // of decodeInTurns(): seconds a step outside the matrices' products, where
                                 // kernels are timed (op_clock.h)

  double median() const { return spreadOf(seconds).median; }
  double tokensPerSecond() const { return double(tokens) / median(); }
  // Bytes or operations a second, whichever `limit` limits; NaN for none.
  double rate() const;
  double ceiling() const { return spreadOf(ceilings).median; }
  // Percent that each run reached of the mean of the ceilings right before and after it, which what disturbs
  // the machine for seconds disturbs as well. Empty where there is none.
  std::vector<double> shares() const;

 private:
  double amount() const;  // bytes or operations, whichever `limit` limits
};

// Single steps: so many, from a position that was never read, its window filled.
struct DecodeRun {
  std::int64_t steps = 1;
  std::int64_t context = 0;
  std::int64_t batch = 1;  // sequences that each step advances together
};

// Single steps that are compared with others.
struct StepKind {
  std::int64_t context = 0;
  const engine::FrameLayout* trace = nullptr;  // null: none
};

// Thrown Error(cancelled) where `stop` asks, between steps.
class BenchRuns {
 public:
  BenchRuns(const LoadedModel& loaded, kernels::ThreadPool& pool, Ceilings& ceilings, int repeats,
            std::stop_token stop);

  // In turns. Against the products' ceiling but for one sequence.
  std::vector<BenchResult> decode(const std::vector<DecodeRun>& runs);
  // So many steps of each kind, one of each after the other: what disturbs the machine disturbs all alike.
  // A run counts as so many times its median step: what disturbs single steps does not count.
  std::vector<BenchResult> decodeInTurns(std::int64_t steps, const std::vector<StepKind>& kinds);
  // Steps without a trace, with a summary and with everything, likewise.
  std::vector<BenchResult> tracedDecode(std::int64_t steps, std::int64_t context);
  // `tokens` read at once, with the last one's logits.
  BenchResult prefill(std::int64_t tokens, std::int64_t context);
  // One run of each: seconds.
  double timeDecode(const DecodeRun& run);
  double timePrefill(std::int64_t tokens, std::int64_t context);
  // What one run must move and compute, without any runs.
  BenchResult describeDecode(const DecodeRun& run) const;
  BenchResult describePrefill(std::int64_t tokens, std::int64_t context) const;
  // Of it, by all matrices and the gates', with the head for one row.
  double productFlops(std::int64_t tokens) const;
  // The RG-LRU alone: `tokens` of R channels; on a card of several sequences.
  BenchResult scan(std::int64_t tokens);
  // Seconds of the same steps (of the real RG-LRU) on data that stay in each core's first-level cache: their
  // arithmetic alone.
  double timeScanInCache(std::int64_t tokens);
  // Seconds in which two arrays of that size are added to a third, row by row: the traffic of the scan alone.
  double timeSumInPlace(std::int64_t tokens);
  // bf16 weights quantised to `to` (int8 or int4): gate and up of one layer, or as many as stay in the cache.
  enum class QuantisedRows : std::uint8_t { ofALayer, inCache };
  BenchResult quantise(kernels::DType to, QuantisedRows rows);
  // A copy of the state at position `context`.
  BenchResult snapshot(std::int64_t context);
  // Back to the middle of a conversation of `tokens`, read in part and written in part: to a key-frame, and
  // to the place furthest from one.
  std::vector<BenchResult> rewind(std::int64_t tokens);
  double medianSeconds(const std::function<void()>& work) const;  // as often as asked
  bool quantised() const;                                         // int8 or int4
  // A state at position `context`, its window filled with noise.
  engine::SequenceState stateAt(std::int64_t context) const;
  void checkStop() const;
  bool onCard() const;
  Limit memoryLimit() const { return onCard() ? Limit::cardCopy : Limit::bandwidth; }
  // What products of many rows are measured against: int8 weights' own ceiling, or that of f32; a card's.
  Limit productLimit() const;

 private:
  double timeStep(engine::SequenceState& state, engine::TraceFrame* frame, const engine::FrameLayout* trace);
  double visibleKeys(std::int64_t position) const;  // summed over the attention layers
  double weightBytes() const;                       // that one step reads
  double matrixParameters() const;                  // beside embedding and head
  // `run` as often as asked, the ceilings before, between and after.
  void repeat(std::vector<BenchResult>& results, const std::function<void()>& run);
  // Likewise each of `results` in turns; `once` gives the seconds of one run of results[kind].
  void takeTurns(std::vector<BenchResult>& results, const std::function<double(std::size_t kind)>& once);
  void addCeilings(std::vector<BenchResult>& results);
  // The time of `work`, once for nothing and then as often as asked.
  BenchResult measured(BenchResult result, const std::function<void()>& work);
  BenchResult scanOnCard(std::int64_t tokens);
  BenchResult timedScan(std::int64_t tokens, const kernels::OpCost& cost, const std::function<void()>& run);

  const LoadedModel& loaded_;
  engine::Model& model_;
  const engine::ModelConfig& config_;
  kernels::ThreadPool& pool_;
  Ceilings& ceilings_;
  int repeats_;
  std::stop_token stop_;
};

}  // namespace eyrie::app
