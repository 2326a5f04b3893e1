// In which order what is compared is timed.
#include <algorithm>
#include <map>

#include "app/cli/bench_runs.h"
#include "app/cli/op_clock.h"

namespace eyrie::app {

void BenchRuns::addCeilings(std::vector<BenchResult>& results) {
  for (const Limit limit : kCeilings) {
    const auto limits = [limit](const BenchResult& result) { return result.limit == limit; };
    if (std::none_of(results.begin(), results.end(), limits)) continue;
    const double rate = ceilings_.measure(limit);
    for (BenchResult& result : results) {
      if (limits(result)) result.ceilings.push_back(rate);
    }
  }
}

void BenchRuns::repeat(std::vector<BenchResult>& results, const std::function<void()>& run) {
  addCeilings(results);
  for (int i = 0; i < repeats_; ++i) {
    run();
    addCeilings(results);
  }
}

void BenchRuns::takeTurns(std::vector<BenchResult>& results,
                          const std::function<double(std::size_t kind)>& once) {
  repeat(results, [&] {
    for (std::size_t kind = 0; kind < results.size(); ++kind) {
      checkStop();
      results[kind].seconds.push_back(once(kind));
    }
  });
}

std::vector<BenchResult> BenchRuns::decodeInTurns(std::int64_t steps, const std::vector<StepKind>& kinds) {
  std::vector<BenchResult> results;
  // Of one context one: the same memory for all its kinds.
  std::map<std::int64_t, engine::SequenceState> states;
  std::vector<engine::TraceFrame> frames(kinds.size());  // kept, so that no step pays for their memory
  const auto timed = [&](std::size_t kind) {
    const bool traced = kinds[kind].trace != nullptr;
    return timeStep(states.at(kinds[kind].context), traced ? &frames[kind] : nullptr, kinds[kind].trace);
  };
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    results.push_back(describeDecode({steps, kinds[kind].context}));
    if (!states.contains(kinds[kind].context))
      states.emplace(kinds[kind].context, stateAt(kinds[kind].context));
    timed(kind);  // pages of the file, buffers
  }
  std::vector<std::vector<double>> beside(kinds.size());
  repeat(results, [&] {
    std::vector<std::vector<double>> seconds(kinds.size());
    for (std::int64_t step = 0; step < steps; ++step) {
      for (std::size_t k = 0; k < kinds.size(); ++k) {
        const std::size_t kind = (static_cast<std::size_t>(step) + k) % kinds.size();
        startOpClock();
        seconds[kind].push_back(timed(kind));
        beside[kind].push_back(seconds[kind].back() -
                               stopOpClock()[static_cast<std::size_t>(TimedOp::linear)]);
      }
    }
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      results[kind].seconds.push_back(static_cast<double>(steps) * spreadOf(seconds[kind]).median);
    }
  });
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    results[kind].besideProducts = spreadOf(beside[kind]).median;
  }
  return results;
}

std::vector<BenchResult> BenchRuns::tracedDecode(std::int64_t steps, std::int64_t context) {
  const engine::FrameLayout summary(config_, engine::TraceOptions{engine::TraceLevel::summary, {}, 512});
  const engine::FrameLayout full(config_, engine::TraceOptions{engine::TraceLevel::full, {}, 512});
  auto results = decodeInTurns(steps, {{context}, {context, &summary}, {context, &full}});
  results[0].name = "decode, no trace";
  results[1].name = "decode, summary trace";
  results[2].name = "decode, full trace";
  return results;
}

}  // namespace eyrie::app
