// Where the time of some runs went, among the CPU kernels.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/cli/op_clock.h"

namespace eyrie::app {

// In percent of each run's time.
struct Shares {
  std::vector<double> recurrence;  // with the output gate
  std::vector<double> attention;   // with RoPE
  OpSeconds sum{};
  double seconds = 0;

  void add(double passed, const OpSeconds& ops);
  double ofProducts() const;  // matrices and gates, 0..1
  std::string describe() const;
};

// `run` gives the seconds it took.
Shares sharesOf(int repeats, const std::function<double()>& run);

}  // namespace eyrie::app
