// eyrie-cli bench: how fast a model runs here, each figure beside what this machine reaches at best.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "app/cli/bench_goals.h"
#include "app/cli/bench_runs.h"
#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/machine.h"
#include "app/cli/model_options.h"
#include "app/cli/op_clock.h"
#include "kernels/cpu/instruction_set.h"

namespace eyrie::app {
namespace {

constexpr double kGiga = 1e9;

struct BenchOptions {
  ModelOptions model;
  std::vector<std::int64_t> prefill;
  std::int64_t decode = 0;
  std::vector<std::int64_t> batch;
  std::int64_t traced = 0;
  std::int64_t scan = 0;
  bool snapshot = false;
  std::int64_t rewind = 0;
  std::int64_t context = 0;
  const CLI::Option* contextOption = nullptr;
  int repeats = 5;
  bool goals = false;
  std::vector<std::string> only;
  bool quick = false;
  bool json = false;

  bool nothingNamed() const {
    return prefill.empty() && decode == 0 && traced == 0 && scan == 0 && !snapshot && rewind == 0;
  }
};

constexpr std::int64_t kMostRead = std::int64_t{4} << 30;
constexpr std::int64_t kQuickRead = std::int64_t{256} << 20;
constexpr std::int64_t kGemmRows = 512;  // of a prefill's chunk

// Memory so much larger than any cache that little of it stays there.
std::int64_t readBytesFor(const BenchOptions& options, const Machine& machine) {
  if (options.quick) return kQuickRead;
  return std::min<std::int64_t>(kMostRead, std::int64_t(machine.freeBytes / 4));
}

Json spreadJson(const Spread& spread, double unit) {
  return {{"median", number(spread.median / unit)},
          {"least", number(spread.least / unit)},
          {"most", number(spread.most / unit)},
          {"runs", spread.runs}};
}

Json resultJson(const BenchResult& result, const std::string& dtype) {
  const Spread spread = spreadOf(result.seconds);
  Json runs = Json::array();
  for (const double seconds : result.seconds) runs.push_back(number(1e3 * seconds));
  return {{"name", result.name},
          {"tokens", result.tokens},
          {"batch", result.batch},
          {"context", result.context},
          {"dtype", dtype},
          {"ms", number(1e3 * spread.median)},
          {"ms_least", number(1e3 * spread.least)},
          {"ms_most", number(1e3 * spread.most)},
          {"ms_runs", std::move(runs)},
          {"runs", spread.runs},
          {"tokens_per_s", result.tokens == 0 ? Json() : number(result.tokensPerSecond())},
          {"gb_per_s", number(result.bytes / spread.median / kGiga)},
          {"gflops", number(result.flops / spread.median / kGiga)},
          {"ceiling", result.limit == Limit::none ? Json() : Json(nameOf(result.limit))},
          {"percent_of_ceiling", number(result.percentOfCeiling())}};
}

Json figureJson(const Figure& figure, const std::string& dtype) {
  const Spread spread = figure.spread();
  const bool limited = figure.limit != Limit::none;
  return {{"part", figure.part},
          {"figure", figure.name},
          {"dtype", dtype},
          {"unit", figure.unit.empty() ? Json() : Json(figure.unit)},
          {"median", number(spread.median)},
          {"least", number(spread.least)},
          {"most", number(spread.most)},
          {"runs", spread.runs},
          {"tokens_per_s", number(figure.tokensPerSecond)},
          {"rate", number(figure.rate / kGiga)},
          {"rate_unit", limited ? Json(unitOf(figure.limit)) : Json()},
          {"ceiling", number(figure.ceiling / kGiga)},
          {"ceiling_name", limited ? Json(nameOf(figure.limit)) : Json()},
          {"percent_of_ceiling", number(figure.percentOfCeiling())},
          {"goal", figure.goal.empty() ? Json() : Json(figure.goal)},
          {"met", figure.met ? Json(*figure.met) : Json()},
          {"note", figure.note.empty() ? Json() : Json(figure.note)}};
}

Json machineJson(const Machine& machine, const Ceilings& ceilings, int threads) {
  const auto median = [&](Limit limit) { return number(ceilings.spread(limit).median / kGiga); };
  Json spreads = Json::object();
  for (const Limit limit : kCeilings) {
    if (ceilings.spread(limit).runs > 0) spreads[nameOf(limit)] = spreadJson(ceilings.spread(limit), kGiga);
  }
  return {{"system", machine.system},
          {"processor", machine.processor},
          {"instruction_set", kernels::cpu::instructionSets().front()},
          {"cores", machine.cores},
          {"threads", threads},
          {"memory_bytes", machine.memoryBytes},
          {"read_bytes", ceilings.readBytes()},
          {"read_gb_per_s", median(Limit::bandwidth)},
          {"gemm_gflops", median(Limit::f32Gemm)},
          {"int8_gops", median(Limit::int8Gemm)},
          {"ceilings", std::move(spreads)}};
}

void printMachine(const Machine& machine, const LoadedModel& loaded) {
  print(fmt::format("{}, {} cores; {}\n{}, {}\n", machine.processor, machine.cores,
                    loaded.model->backendName(), loaded.info.name, loaded.info.summary.dtype));
}

void printCeilings(const Ceilings& ceilings) {
  std::string line = "ceilings: ";
  for (const Limit limit : kCeilings) {
    const Spread spread = ceilings.spread(limit);
    if (spread.runs == 0) continue;
    line += fmt::format("{} {:.1f} {} ({:.1f} to {:.1f}, {} times), ", nameOf(limit), spread.median / kGiga,
                        unitOf(limit), spread.least / kGiga, spread.most / kGiga, spread.runs);
  }
  if (!ceilings.whyNoInt8().empty()) {
    line += fmt::format("{} not measured: {}, ", nameOf(Limit::int8Gemm), ceilings.whyNoInt8());
  }
  print(line + fmt::format("read of {:.2f} GiB\n", double(ceilings.readBytes()) / double(1 << 30)));
}

void printResult(const BenchResult& result) {
  const Spread spread = spreadOf(result.seconds);
  const std::string name =
      result.batch == 1 ? result.name : fmt::format("{} x {}", result.name, result.batch);
  std::string line = fmt::format("{:<22}{:>8}{:>10}", name, result.tokens, result.context);
  line += fmt::format("{:>11.3f} ms ({:.3f} to {:.3f})", 1e3 * spread.median, 1e3 * spread.least,
                      1e3 * spread.most);
  if (result.tokens > 0) line += fmt::format(" {:>10.2f} tokens/s", result.tokensPerSecond());
  line += fmt::format(" {:>8.2f} GB/s {:>8.1f} GFLOP/s", result.bytes / spread.median / kGiga,
                      result.flops / spread.median / kGiga);
  if (!std::isnan(result.percentOfCeiling())) {
    line += fmt::format(" {:>6.1f} % of {}", result.percentOfCeiling(), nameOf(result.limit));
  }
  print(line + "\n");
  flushOutput();
}

// A line of a Markdown table.
void printRow(std::string_view figure, std::string_view value, std::string_view rate, std::string_view goal,
              std::string_view verdict) {
  print(fmt::format("| {:<54} | {:<36} | {:<64} | {:<26} | {:<12} |\n", figure, value, rate, goal, verdict));
}

void printFigure(const Figure& figure) {
  const Spread spread = figure.spread();
  std::string value = "not measured";
  if (spread.runs == 1) value = fmt::format("{:.4g} {}", spread.median, figure.unit);
  if (spread.runs > 1) {
    value =
        fmt::format("{:.4g} {} ({:.4g} to {:.4g})", spread.median, figure.unit, spread.least, spread.most);
  }
  std::string rate;
  const auto add = [&rate](const std::string& text) { rate += (rate.empty() ? "" : ", ") + text; };
  if (!std::isnan(figure.tokensPerSecond)) add(fmt::format("{:.4g} tokens/s", figure.tokensPerSecond));
  if (!std::isnan(figure.rate)) {
    add(fmt::format("{:.4g} {}", figure.rate / kGiga, unitOf(figure.limit)));
  }
  if (!std::isnan(figure.percentOfCeiling())) {
    add(fmt::format("{:.1f} % of {}", figure.percentOfCeiling(), nameOf(figure.limit)));
  }
  const char* verdict = figure.goal.empty() ? ""
                        : !figure.met       ? "not measured"
                        : *figure.met       ? "met"
                                            : "missed";
  printRow(figure.name, value, rate, figure.goal, verdict);
  flushOutput();
}

std::vector<std::function<std::vector<BenchResult>()>> partsOf(const BenchOptions& options, BenchRuns& runs) {
  std::vector<std::function<std::vector<BenchResult>()>> parts;
  const auto add = [&parts](std::function<BenchResult()> run) {
    parts.emplace_back([run] { return std::vector{run()}; });
  };
  for (const std::int64_t tokens : options.prefill) {
    add([&, tokens] { return runs.prefill(tokens, options.context); });
  }
  if (options.decode > 0) {
    parts.emplace_back([&] { return runs.decodeBatches(options.batch, options.decode, options.context); });
  }
  if (options.traced > 0)
    parts.emplace_back([&] { return runs.tracedDecode(options.traced, options.context); });
  if (options.scan > 0) add([&] { return runs.scan(options.scan); });
  if (options.snapshot) add([&] { return runs.snapshot(options.context); });
  if (options.rewind > 0) parts.emplace_back([&] { return runs.rewind(options.rewind); });
  return parts;
}

int benchParts(BenchOptions& options) {
  if (options.nothingNamed()) {
    options.prefill = {512};
    options.decode = 32;
  }
  if (options.decode == 0 && !options.batch.empty()) wrongUsage("--batch goes with --decode");
  if (options.batch.empty()) options.batch = {1};
  Interrupt interrupt;
  const LoadedModel loaded = loadModel(options.model, interrupt.token());
  kernels::ThreadPool pool(options.model.threads);
  const Machine machine = thisMachine();
  Ceilings ceilings(pool, loaded.model->config(), readBytesFor(options, machine), kGemmRows,
                    interrupt.token());
  for (const Limit limit : {Limit::bandwidth, Limit::f32Gemm}) ceilings.measure(limit);
  if (!options.json) {
    printMachine(machine, loaded);
    print(fmt::format("\n{:<22}{:>8}{:>10}{:>14}\n", "", "tokens", "context", "median"));
  }
  BenchRuns runs(loaded, pool, ceilings, options.repeats, interrupt.token());
  Json results = Json::array();
  for (const auto& part : partsOf(options, runs)) {
    for (const BenchResult& result : part()) {
      options.json ? results.push_back(resultJson(result, loaded.info.summary.dtype)) : printResult(result);
    }
  }
  if (options.json) {
    printLine({{"machine", machineJson(machine, ceilings, pool.size())},
               {"interventions", interventionsJson(loaded.interventions)},
               {"results", std::move(results)}});
  } else {
    printCeilings(ceilings);
  }
  return kDone;
}

// The last of several loads, each in a process that holds no other.
LoadedModel loadRepeatedly(const BenchOptions& options, int times, const std::stop_token& stop,
                           std::vector<double>& seconds) {
  const engine::CpuOps* ops = options.model.backend == "reference" ? nullptr : &timedOps();
  const double start = secondsSinceStart();
  for (int i = 0; i + 1 < times; ++i) {
    const double begin = secondsSinceStart();
    loadModel(options.model, stop, ops);
    seconds.push_back(start + secondsSinceStart() - begin);
  }
  forgetPeak();
  const double begin = secondsSinceStart();
  LoadedModel loaded = loadModel(options.model, stop, ops);
  seconds.push_back(start + secondsSinceStart() - begin);
  return loaded;
}

GoalOptions goalOptions(const BenchOptions& options) {
  GoalOptions goals;
  goals.parts = options.only;
  goals.prefill = options.prefill;
  if (goals.prefill.empty()) goals.prefill = {512, 4096};
  goals.decode = options.decode;
  goals.scan = options.scan > 0 ? options.scan : 8192;
  goals.context = options.contextOption->count() > 0 ? options.context : 4096;
  goals.repeats = options.repeats;
  return goals;
}

int benchGoals(const BenchOptions& options) {
  const GoalOptions wanted = goalOptions(options);
  Interrupt interrupt;
  const std::uint64_t before = residentBytes();
  std::vector<double> loadSeconds;
  const LoadedModel loaded =
      loadRepeatedly(options, wanted.wants("load") ? options.repeats : 1, interrupt.token(), loadSeconds);
  kernels::ThreadPool pool(options.model.threads);
  const Machine machine = thisMachine();
  Ceilings ceilings(pool, loaded.model->config(), readBytesFor(options, machine), kGemmRows,
                    interrupt.token());
  BenchRuns runs(loaded, pool, ceilings, options.repeats, interrupt.token());
  BenchGoals goals(loaded, pool, ceilings, runs, wanted, [&] {
    ModelOptions stored = options.model;
    stored.dtype = "auto";
    return loadModel(stored, interrupt.token());
  });
  Json figures = Json::array();
  std::vector<std::string> notes;
  const auto tell = [&](const Figure& figure) {
    figures.push_back(figureJson(figure, loaded.info.summary.dtype));
    if (options.json) return;
    printFigure(figure);
    if (!figure.note.empty()) notes.push_back(figure.name + ": " + figure.note);
  };
  if (!options.json) {
    printMachine(machine, loaded);
    print("\n");
    printRow("figure", "median (least to most)", "rate", "goal", "");
    print("|---|---|---|---|---|\n");
  }
  if (wanted.wants("memory")) tell(goals.memory(before, interrupt.token()));
  note(fmt::format("[about {:.0f} s at best]", goals.estimate()));
  goals.run(loadSeconds, tell);
  if (options.json) {
    printLine({{"machine", machineJson(machine, ceilings, pool.size())},
               {"interventions", interventionsJson(loaded.interventions)},
               {"goals", std::move(figures)}});
    return kDone;
  }
  print("\n");
  printCeilings(ceilings);
  for (const std::string& line : notes) print(line + "\n");
  return kDone;
}

int bench(BenchOptions& options) {
  if (!options.goals && !options.only.empty()) wrongUsage("--only goes with --goals");
  if (!options.goals) return benchParts(options);
  if (options.traced > 0 || options.snapshot || options.rewind > 0 || !options.batch.empty()) {
    wrongUsage("--goals has its own --traced, --snapshot, --rewind and --batch: choose with --only");
  }
  return benchGoals(options);
}

}  // namespace

void addBenchCommand(CLI::App& parser, Action& action) {
  constexpr std::uint64_t kMostTokens = 10'000'000;
  constexpr std::uint64_t kMostSequences = 512;
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      parser.add_subcommand("bench", "Speeds, as percentages of what this machine reaches at best");
  options->model.addTo(*command);
  const auto tokens = [&](const char* name, std::int64_t& value, const char* help) {
    command->add_option(name, value, help)->check(wholeNumber(1, kMostTokens))->type_name("N");
  };
  command->add_option("--prefill", options->prefill, "Texts of these many tokens read at once")
      ->check(wholeNumber(1, kMostTokens))
      ->delimiter(',')
      ->type_name("N,...");
  tokens("--decode", options->decode, "This many single steps");
  command->add_option("--batch", options->batch, "Sequences that a step of --decode advances together [1]")
      ->check(wholeNumber(1, kMostSequences))
      ->delimiter(',')
      ->type_name("N,...");
  tokens("--traced", options->traced, "This many steps without a trace, with a summary and with everything");
  tokens("--scan", options->scan, "The RG-LRU alone over this many tokens");
  command->add_flag("--snapshot", options->snapshot, "A copy of the state");
  command
      ->add_option(
          "--rewind", options->rewind,
          "Back to the middle of a conversation of this many tokens, 0 and 63 steps from a key-frame")
      ->check(wholeNumber(1024, kMostTokens))
      ->type_name("N");
  command->add_flag("--goals", options->goals,
                    "The table of goals, met or missed; --prefill, --decode, --scan and --context change its "
                    "sizes [512,4096, a quarter of a second, 8192, 4096]");
  command->add_option("--only", options->only, fmt::format("Of the goals: {}", fmt::join(goalParts(), ",")))
      ->check(CLI::IsMember(goalParts()))
      ->delimiter(',')
      ->type_name("PART,...");
  options->contextOption =
      command->add_option("--context", options->context, "Position to begin at, the window filled [0]")
          ->check(wholeNumber(0, std::uint64_t{1} << 40U))
          ->type_name("N");
  command->add_option("--runs,--repeats", options->repeats, "Of each part, the median of which counts [5]")
      ->check(wholeNumber(1, 1000))
      ->type_name("N");
  command->add_flag("--quick", options->quick, "Reads 256 MiB for the bandwidth, not 4 GiB: for trying out");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Without a part named: --prefill 512 --decode 32. Ceilings (read bandwidth of 4 GiB or a quarter of "
      "the "
      "free memory; f32 products of the model's shapes through OpenBLAS; int8 products through oneDNN, where "
      "there is one) are measured before, between and after the runs of each part, with the same threads.\n"
      "JSON: \"machine\" with the ceilings' medians, \"results\" or \"goals\". A result: name, tokens, "
      "batch, "
      "context, dtype, ms (median), ms_least, ms_most, ms_runs, runs, tokens_per_s, gb_per_s, gflops, "
      "ceiling, "
      "percent_of_ceiling. A goal: part, figure, dtype, unit, median, least, most, runs, tokens_per_s, rate, "
      "rate_unit, ceiling, ceiling_name, percent_of_ceiling, goal, met (null: not measured, or no goal), "
      "note.");
  command->callback([options, &action] { action = [options] { return bench(*options); }; });
}

}  // namespace eyrie::app
