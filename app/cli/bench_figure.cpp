#include "app/cli/bench_figure.h"

#include <fmt/format.h>

#include <utility>

namespace eyrie::app {

void atMost(Figure& figure, double bound) {
  if (std::isnan(bound)) return;
  figure.goal = fmt::format("≤ {} {}", bound, figure.unit);
  if (!figure.values.empty()) figure.met = figure.spread().median <= bound;
}

void atLeast(Figure& figure, double bound) {
  if (std::isnan(bound)) return;
  figure.goal = fmt::format("≥ {} {}", bound, figure.unit);
  if (!figure.values.empty()) figure.met = figure.spread().median >= bound;
}

void atLeastPercent(Figure& figure, double bound) {
  if (std::isnan(bound)) return;
  figure.goal = fmt::format("≥ {} % of {}", bound, nameOf(figure.limit));
  if (figure.shares.empty()) return;
  figure.met = spreadOf(figure.shares).median >= bound;
  if (*figure.met) return;
  figure.note =
      fmt::format("{} {:.1f} to {:.1f} {} around its runs", nameOf(figure.limit),
                  figure.ceilings.least / kGiga, figure.ceilings.most / kGiga, unitOf(figure.limit));
}

void tellSpread(Figure& figure, const BenchResult& others) {
  if (figure.met != false) return;
  const Spread spread = spreadOf(others.seconds);
  figure.note = fmt::format("the runs it is held against took {:.0f} to {:.0f} ms", 1e3 * spread.least,
                            1e3 * spread.most);
}

void addNote(Figure& figure, const std::string& note) {
  if (!figure.note.empty()) figure.note += "; ";
  figure.note += note;
}

Figure unmeasured(std::string part, std::string name, std::string unit, std::string note) {
  return {.part = std::move(part), .name = std::move(name), .unit = std::move(unit), .note = std::move(note)};
}

std::vector<double> scaled(std::vector<double> values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}

std::vector<double> ratios(const std::vector<double>& above, const std::vector<double>& below) {
  std::vector<double> values;
  for (std::size_t i = 0; i < above.size(); ++i) values.push_back(above[i] / below[i]);
  return values;
}

Figure figureOf(const std::string& part, std::string name, const BenchResult& result) {
  Figure figure{.part = part,
                .name = std::move(name),
                .unit = "ms",
                .values = scaled(result.seconds, 1e3),
                .limit = result.limit,
                .rate = result.rate(),
                .ceilings = spreadOf(result.ceilings),
                .shares = result.shares()};
  if (result.tokens > 0) figure.tokensPerSecond = result.tokensPerSecond();
  return figure;
}

}  // namespace eyrie::app
