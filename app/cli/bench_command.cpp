// eyrie-cli bench: how fast a model runs here, each figure beside what this machine reaches at best.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "app/cli/bench_goals.h"
#include "app/cli/bench_report.h"
#include "app/cli/bench_runs.h"
#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/machine.h"
#include "app/cli/model_options.h"
#include "app/cli/op_clock.h"
#include "engine/model_locator.h"
#include "engine/weight_cache.h"

namespace eyrie::app {
namespace {

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
// Tokens of a prefill's chunk.
constexpr std::int64_t kGemmRows = 512;
constexpr std::int64_t kCardGemmRows = 8192;

std::int64_t gemmRows(const LoadedModel& loaded) {
  return loaded.info.backend.starts_with("cuda") ? kCardGemmRows : kGemmRows;
}

// Memory so much larger than any cache that little of it stays there.
std::int64_t readBytesFor(const BenchOptions& options, const Machine& machine) {
  if (options.quick) return kQuickRead;
  return std::min<std::int64_t>(kMostRead, std::int64_t(machine.freeBytes / 4));
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
    std::vector<DecodeRun> batches;
    for (const std::int64_t batch : options.batch)
      batches.push_back({options.decode, options.context, batch});
    parts.emplace_back([&, batches] { return runs.decode(batches); });
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
  Ceilings ceilings(pool, loaded.model->config(), readBytesFor(options, machine), gemmRows(loaded),
                    interrupt.token());
  waitUntilIdle(interrupt.token());
  if (!options.json) {
    printMachine(machine, loaded);
    printResultsHead();
  }
  BenchRuns runs(loaded, pool, ceilings, options.repeats, interrupt.token());
  for (const Limit limit : {runs.memoryLimit(), runs.productLimit()}) ceilings.measure(limit);
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

// Kernels timed one by one, where the backend has any of these.
const engine::CpuOps* opsFor(const BenchOptions& options) {
  const bool timed = options.model.backend != "reference" && options.model.backend != "cuda";
  return timed ? &timedOps() : nullptr;
}

using FileClock = std::filesystem::file_time_type::clock;

// Where quantised weights were kept since `begin`: the bytes they were made of.
double quantisedSince(const FileClock::time_point& begin, const LoadedModel& loaded) {
  const auto to = engine::conversionNamed(loaded.info.summary.dtype);
  if (!to || !kernels::isPacked(*to)) return 0;
  const engine::Checkpoint& checkpoint = loaded.model->checkpoint();
  std::error_code none;
  const auto written = std::filesystem::last_write_time(
      engine::WeightCache(engine::cacheFolder(), checkpoint, *to).file(), none);
  if (none || written < begin) return 0;
  double bytes = 0;
  for (const engine::StoredTensor& tensor : checkpoint.tensors()) bytes += static_cast<double>(tensor.bytes);
  return bytes;
}

// The last of several loads, each in a process that holds no other.
LoadedModel loadRepeatedly(const BenchOptions& options, int times, const std::stop_token& stop,
                           LoadTimes& loads) {
  const engine::CpuOps* ops = opsFor(options);
  const double start = secondsSinceStart();
  const auto load = [&] {
    const auto now = FileClock::now();
    const double begin = secondsSinceStart();
    LoadedModel loaded = loadModel(options.model, stop, ops);
    loads.seconds.push_back(start + secondsSinceStart() - begin);
    if (loads.seconds.size() == 1) loads.quantisedBytes = quantisedSince(now, loaded);
    return loaded;
  };
  for (int i = 0; i + 1 < times; ++i) load();
  forgetPeak();
  return load();
}

GoalOptions goalOptions(const BenchOptions& options) {
  GoalOptions goals;
  goals.parts = options.only;
  goals.prefill = options.prefill;
  const bool card = options.model.backend == "cuda";
  if (goals.prefill.empty())
    goals.prefill = card ? std::vector<std::int64_t>{8192, 512} : std::vector<std::int64_t>{512, 4096};
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
  LoadTimes loads;
  const LoadedModel loaded =
      loadRepeatedly(options, wanted.wants("load") ? options.repeats : 1, interrupt.token(), loads);
  kernels::ThreadPool pool(options.model.threads);
  const Machine machine = thisMachine();
  Ceilings ceilings(pool, loaded.model->config(), readBytesFor(options, machine), gemmRows(loaded),
                    interrupt.token());
  BenchRuns runs(loaded, pool, ceilings, options.repeats, interrupt.token());
  BenchGoals goals(loaded, pool, ceilings, runs, wanted, [&] {
    ModelOptions stored = options.model;
    stored.dtype = "auto";
    LoadedModel model = loadModel(stored, interrupt.token(), opsFor(options));
    waitUntilIdle(interrupt.token());
    return model;
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
    printGoalsHead();
  }
  if (wanted.wants("memory")) tell(goals.memory(before, interrupt.token()));
  waitUntilIdle(interrupt.token());
  note(fmt::format("[about {:.0f} s at best]", goals.estimate()));
  const auto report = [&] {
    printLine({{"machine", machineJson(machine, ceilings, pool.size())},
               {"interventions", interventionsJson(loaded.interventions)},
               {"goals", std::move(figures)}});
  };
  try {
    goals.run(loads, tell);
  } catch (const engine::Error& error) {
    // What is known by then is worth having: a table takes minutes.
    if (options.json && error.code() == engine::ErrorCode::cancelled) report();
    throw;
  }
  if (options.json) {
    report();
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

constexpr const char* kFooter =
    "Without a part named: --prefill 512 --decode 32.\n"
    "Ceilings are measured before, between and after the runs of each part, with the same threads: reading 4 "
    "GiB\n"
    "(or a quarter of the free memory), f32 products of the model's shapes through OpenBLAS, int8 products\n"
    "through oneDNN where there is one. With --backend cuda: copies within the card's memory, bytes read "
    "and\n"
    "written, and bf16 products on it; the goals are then those of a card.\n"
    "JSON: \"machine\" with the ceilings' medians, and \"results\" or \"goals\"; Ctrl-C ends the table of "
    "goals "
    "early.\n"
    "A result: name, tokens, batch, context, dtype, ms (the median), ms_least, ms_most, ms_runs, runs,\n"
    "tokens_per_s, gb_per_s, gflops, ceiling, percent_of_ceiling (each run against what was measured before\n"
    "and after it; the median), percent_least, percent_most.\n"
    "A goal: part, figure, dtype, unit, median, least, most, runs, tokens_per_s, rate, rate_unit, ceiling,\n"
    "ceiling_least, ceiling_most, ceiling_name, percent_of_ceiling, percent_least, percent_most, goal,\n"
    "met (null: not measured, or no goal), note.";

constexpr std::uint64_t kMostTokens = 10'000'000;
constexpr std::uint64_t kMostSequences = 512;

void addTokens(CLI::App& command, const char* name, std::int64_t& value, const char* help) {
  command.add_option(name, value, help)->check(wholeNumber(1, kMostTokens))->type_name("N");
}

void addParts(CLI::App& command, BenchOptions& options) {
  command.add_option("--prefill", options.prefill, "Texts of these many tokens read at once")
      ->check(wholeNumber(1, kMostTokens))
      ->delimiter(',')
      ->type_name("N,...");
  addTokens(command, "--decode", options.decode, "This many single steps");
  command.add_option("--batch", options.batch, "Sequences that each step of --decode advances together [1]")
      ->check(wholeNumber(1, kMostSequences))
      ->delimiter(',')
      ->type_name("N,...");
  addTokens(command, "--traced", options.traced,
            "This many steps without a trace, with a summary and with everything");
  addTokens(command, "--scan", options.scan, "The RG-LRU alone over this many tokens");
  command.add_flag("--snapshot", options.snapshot, "A copy of the state");
  command
      .add_option("--rewind", options.rewind,
                  "Back to the middle of a conversation of this many tokens, 0 and 63 steps from a key-frame")
      ->check(wholeNumber(1024, kMostTokens))
      ->type_name("N");
}

void addGoals(CLI::App& command, BenchOptions& options) {
  command.add_flag("--goals", options.goals,
                   "The table of goals, met or missed; --prefill, --decode, --scan and --context change its "
                   "sizes [512,4096, a quarter of a second, 8192, 4096]");
  command.add_option("--only", options.only, "These parts of the goals [all]")
      ->check(CLI::IsMember(goalParts()))
      ->delimiter(',')
      ->type_name("PART,...");
}

}  // namespace

void addBenchCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      parser.add_subcommand("bench", "Speeds, as percentages of what this machine reaches at best");
  options->model.addTo(*command);
  addParts(*command, *options);
  addGoals(*command, *options);
  options->contextOption =
      command->add_option("--context", options->context, "Position to begin at, the window filled [0]")
          ->check(wholeNumber(0, std::uint64_t{1} << 40U))
          ->type_name("N");
  command->add_option("--runs,--repeats", options->repeats, "Of each part, the median of which counts [5]")
      ->check(wholeNumber(1, 1000))
      ->type_name("N");
  command->add_flag("--quick", options->quick, "Reads 256 MiB for the bandwidth, not 4 GiB: for trying out");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(kFooter);
  command->callback([options, &action] { action = [options] { return bench(*options); }; });
}

}  // namespace eyrie::app
