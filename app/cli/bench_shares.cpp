#include "app/cli/bench_shares.h"

#include <fmt/format.h>

#include <numeric>

namespace eyrie::app {
namespace {

double secondsIn(const OpSeconds& seconds, TimedOp op) {
  return seconds[static_cast<std::size_t>(op)];
}

}  // namespace

void Shares::add(double passed, const OpSeconds& ops) {
  const double step = secondsIn(ops, TimedOp::recurrence) + secondsIn(ops, TimedOp::outputGate);
  recurrence.push_back(100 * step / passed);
  attention.push_back(100 * secondsIn(ops, TimedOp::attention) / passed);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += ops[i];
  seconds += passed;
}

double Shares::ofProducts() const {
  return (secondsIn(sum, TimedOp::linear) + secondsIn(sum, TimedOp::gates)) / seconds;
}

std::string Shares::describe() const {
  constexpr std::array kNames{"matrices",    "gates' products", "convolution", "recurrence",
                              "output gate", "MLP gate",        "attention",   "norms and others"};
  static_assert(kNames.size() == static_cast<std::size_t>(TimedOp::count));
  std::string text;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    text += fmt::format("{}{} {:.1f} %", i == 0 ? "" : ", ", kNames[i], 100 * sum[i] / seconds);
  }
  const double known = std::accumulate(sum.begin(), sum.end(), 0.0);
  return text + fmt::format(", between them {:.1f} %", 100 * (1 - known / seconds));
}

Shares sharesOf(int repeats, const std::function<double()>& run) {
  Shares shares;
  for (int i = 0; i < repeats; ++i) {
    startOpClock();
    const double seconds = run();
    shares.add(seconds, stopOpClock());
  }
  return shares;
}

}  // namespace eyrie::app
