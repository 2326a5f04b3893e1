// What the benchmark found, as JSON and for people.
#pragma once

#include <string>

#include "app/cli/bench_goals.h"
#include "app/cli/bench_runs.h"
#include "app/cli/console.h"
#include "app/cli/machine.h"

namespace eyrie::app {

// Their fields are listed by bench --help.
Json resultJson(const BenchResult& result, const std::string& dtype);
Json figureJson(const Figure& figure, const std::string& dtype);
Json machineJson(const Machine& machine, const Ceilings& ceilings, int threads);

void printMachine(const Machine& machine, const LoadedModel& loaded);
void printCeilings(const Ceilings& ceilings);
void printResultsHead();
void printResult(const BenchResult& result);
// Lines of a Markdown table.
void printGoalsHead();
void printFigure(const Figure& figure);

}  // namespace eyrie::app
