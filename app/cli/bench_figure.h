// One row of the table of goals: what was measured, against which ceiling, and whether it is enough.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "app/cli/bench_runs.h"

namespace eyrie::app {

inline constexpr double kGiga = 1e9;

// One row. Rates and ceilings are bytes or operations a second.
struct Figure {
  std::string part;
  std::string name;
  std::string unit = {};            // of the values
  std::vector<double> values = {};  // of each run; empty: not measured, the note says why
  double tokensPerSecond = std::nan("");
  Limit limit = Limit::none;
  double rate = std::nan("");
  Spread ceilings = spreadOf({});
  std::vector<double> shares = {};  // percent of the ceiling, of each run
  std::string goal = {};            // "≥ 90 %"; empty: none
  std::optional<bool> met = {};     // nothing where there is no goal, or no figure to hold against it
  std::string note = {};

  Spread spread() const { return spreadOf(values); }
};

// Of a run's time.
Figure figureOf(const std::string& part, std::string name, const BenchResult& result);
// No value; the note says why.
Figure unmeasured(std::string part, std::string name, std::string unit, std::string note);

// Set the goal and hold it against the median of the runs; a bound of NaN is none.
void atMost(Figure& figure, double bound);
void atLeast(Figure& figure, double bound);
// Likewise the median share of the ceiling; what is missed notes the ceilings around its runs.
void atLeastPercent(Figure& figure, double bound);
// Of a ratio that misses its goal: how much the runs it is held against differ among themselves.
void tellSpread(Figure& figure, const BenchResult& others);

// Behind what is noted already.
void addNote(Figure& figure, const std::string& note);

std::vector<double> scaled(std::vector<double> values, double factor);
// Run by run: both were taken in turns, so that what disturbed the one disturbed the other.
std::vector<double> ratios(const std::vector<double>& above, const std::vector<double>& below);

}  // namespace eyrie::app
