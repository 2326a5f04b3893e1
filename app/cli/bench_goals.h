// The table of goals: every figure beside the ceiling it is measured against and the goal it has to meet.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "app/cli/bench_figure.h"

namespace eyrie::app {

struct GoalOptions {
  std::vector<std::string> parts;     // of goalParts(); empty: all
  std::vector<std::int64_t> prefill;  // lengths
  std::int64_t decode = 0;            // steps of a run; 0: a quarter of a second's, but 16 at least
  std::int64_t scan = 0;
  std::int64_t context = 0;
  int repeats = 0;

  bool wants(const std::string& part) const;
};

const std::vector<std::string>& goalParts();

// What has to be reached; NaN where nothing has.
struct GoalBounds {
  double decode = 0;  // percent of the memory's ceiling, of weights as stored
  double decodeInt8 = 0;
  double decodeInt4 = 0;
  double prefill = 0;     // percent of the products' ceiling, of weights as stored
  double int8Decode = 0;  // times as fast as the weights as stored
  double int4Decode = 0;
  double int8Prefill = 0;
  double scan = 0;         // percent of the memory's ceiling
  std::int64_t batch = 0;  // sequences
  double batchTimes = 0;   // the tokens of one, of weights as stored
  double loadSeconds = 0;
  double upload = 0;  // percent of the bus's ceiling
};

struct LoadTimes {
  std::vector<double> seconds;  // of each load, in order
  double quantisedBytes = 0;  // of weights as stored, where the first one quantised them and kept the result
};

class BenchGoals {
 public:
  // Of the same model with its weights as stored; asked for only where they were quantised.
  using LoadStored = std::function<LoadedModel()>;

  BenchGoals(const LoadedModel& loaded, kernels::ThreadPool& pool, Ceilings& ceilings, BenchRuns& runs,
             GoalOptions options, LoadStored loadStored);

  // Must come first: everything later takes memory that is none of the model's.
  Figure memory(std::uint64_t residentBefore, std::stop_token stop);
  // Measures the ceilings; how many seconds run() will take at best.
  double estimate();
  // Every other row wanted, as soon as it is known. Throws Error(cancelled).
  void run(const LoadTimes& loads, const std::function<void(const Figure&)>& tell);

 private:
  using Figures = std::vector<Figure>;

  std::int64_t steps() const;
  DecodeRun stepsAt(std::int64_t context, std::int64_t batch = 1) const;
  Figures load(const LoadTimes& times);
  Figure quantising();
  Figures decode();
  Figures prefill();
  Figures stored();
  Figures shares();
  Figures scan();
  Figures position();
  Figures traces();
  Figures snapshot();
  Figures batch();
  bool hasOpClock() const;  // CPU kernels can be timed one by one

  const LoadedModel& loaded_;
  const engine::ModelConfig& config_;
  kernels::ThreadPool& pool_;
  Ceilings& ceilings_;
  BenchRuns& runs_;
  GoalOptions options_;
  const GoalBounds& bounds_;
  LoadStored loadStored_;
};

}  // namespace eyrie::app
