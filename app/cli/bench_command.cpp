// eyrie-cli bench: how fast a model runs here, each figure beside what this machine reaches at best.
#include <fmt/format.h>

#include <algorithm>

#include "app/cli/bench_runs.h"
#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/machine.h"
#include "app/cli/model_options.h"
#include "kernels/cpu/ceilings.h"
#include "kernels/cpu/instruction_set.h"

namespace eyrie::app {
namespace {

struct BenchOptions {
  ModelOptions model;
  std::vector<std::int64_t> prefill;
  std::int64_t decode = 0;
  std::int64_t traced = 0;
  std::int64_t scan = 0;
  bool snapshot = false;
  std::int64_t rewind = 0;
  std::int64_t context = 0;
  int repeats = 5;
  bool json = false;

  bool nothingNamed() const {
    return prefill.empty() && decode == 0 && traced == 0 && scan == 0 && !snapshot && rewind == 0;
  }
};

struct Ceilings {
  double readBytesPerSecond = 0;
  double gemmFlops = 0;
};

// Of memory so much larger than any cache that little of it stays there, and of a product as prefill has it.
Ceilings measureCeilings(kernels::ThreadPool& pool, const engine::ModelConfig& config,
                         const Machine& machine) {
  constexpr std::int64_t kMost = std::int64_t{4} << 30;
  constexpr int kPasses = 5;
  Ceilings ceilings;
  const std::int64_t bytes = std::min<std::int64_t>(kMost, std::int64_t(machine.freeBytes / 4));
  ceilings.readBytesPerSecond = kernels::cpu::readBandwidth(pool, bytes, kPasses);
  const std::int64_t rows = std::clamp<std::int64_t>(config.E, 2048, 8192);
  const std::int64_t cols = std::clamp<std::int64_t>(config.D, 2048, 4096);
  ceilings.gemmFlops = kernels::cpu::gemmRate(pool, 512, rows, cols, kPasses);
  return ceilings;
}

double percentOf(const BenchResult& result, const Ceilings& ceilings) {
  if (result.limit == Limit::bandwidth) {
    return 100 * result.bytes / result.median() / ceilings.readBytesPerSecond;
  }
  if (result.limit == Limit::arithmetic) return 100 * result.flops / result.median() / ceilings.gemmFlops;
  return std::nan("");
}

Json resultJson(const BenchResult& result, const Ceilings& ceilings, const std::string& dtype) {
  return {{"name", result.name},
          {"tokens", result.tokens},
          {"batch", 1},
          {"context", result.context},
          {"dtype", dtype},
          {"ms", number(1e3 * result.median())},
          {"ms_least", number(1e3 * result.seconds.front())},
          {"ms_most", number(1e3 * result.seconds.back())},
          {"runs", result.seconds.size()},
          {"tokens_per_s", result.tokens == 0 ? Json() : number(result.tokensPerSecond())},
          {"gb_per_s", number(result.bytes / result.median() / 1e9)},
          {"gflops", number(result.flops / result.median() / 1e9)},
          {"percent_of_ceiling", number(percentOf(result, ceilings))}};
}

Json machineJson(const Machine& machine, const Ceilings& ceilings, int threads) {
  return {{"system", machine.system},
          {"processor", machine.processor},
          {"instruction_set", kernels::cpu::instructionSets().front()},
          {"cores", machine.cores},
          {"threads", threads},
          {"memory_bytes", machine.memoryBytes},
          {"read_gb_per_s", number(ceilings.readBytesPerSecond / 1e9)},
          {"gemm_gflops", number(ceilings.gemmFlops / 1e9)}};
}

void printResult(const BenchResult& result, const Ceilings& ceilings) {
  std::string line = fmt::format("{:<22}{:>8}{:>10}", result.name, result.tokens, result.context);
  line += fmt::format("{:>11.3f} ms ({:.3f} to {:.3f})", 1e3 * result.median(), 1e3 * result.seconds.front(),
                      1e3 * result.seconds.back());
  if (result.tokens > 0) line += fmt::format(" {:>10.2f} tokens/s", result.tokensPerSecond());
  line += fmt::format(" {:>8.2f} GB/s {:>8.1f} GFLOP/s", result.bytes / result.median() / 1e9,
                      result.flops / result.median() / 1e9);
  if (result.limit != Limit::none) {
    line += fmt::format(" {:>6.1f} % of {}", percentOf(result, ceilings),
                        result.limit == Limit::bandwidth ? "read bandwidth" : "f32 GEMM");
  }
  print(line + "\n");
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
  if (options.decode > 0) add([&] { return runs.decode(options.decode, options.context); });
  if (options.traced > 0)
    parts.emplace_back([&] { return runs.tracedDecode(options.traced, options.context); });
  if (options.scan > 0) add([&] { return runs.scan(options.scan); });
  if (options.snapshot) add([&] { return runs.snapshot(options.context); });
  if (options.rewind > 0) parts.emplace_back([&] { return runs.rewind(options.rewind); });
  return parts;
}

int bench(BenchOptions& options) {
  if (options.nothingNamed()) {
    options.prefill = {512};
    options.decode = 32;
  }
  Interrupt interrupt;
  const LoadedModel loaded = loadModel(options.model, interrupt.token());
  kernels::ThreadPool pool(options.model.threads);
  const Machine machine = thisMachine();
  const Ceilings ceilings = measureCeilings(pool, loaded.model->config(), machine);
  if (!options.json) {
    print(fmt::format("{}, {} cores; {}\n", machine.processor, machine.cores, loaded.model->backendName()));
    print(fmt::format("ceilings: read {:.1f} GB/s, f32 GEMM {:.0f} GFLOP/s\n\n",
                      ceilings.readBytesPerSecond / 1e9, ceilings.gemmFlops / 1e9));
    print(fmt::format("{:<22}{:>8}{:>10}{:>14}\n", loaded.info.name, "tokens", "context", "median"));
  }
  BenchRuns runs(loaded, pool, options.repeats, interrupt.token());
  Json results = Json::array();
  for (const auto& part : partsOf(options, runs)) {
    for (const BenchResult& result : part()) {
      options.json ? results.push_back(resultJson(result, ceilings, loaded.info.summary.dtype))
                   : printResult(result, ceilings);
    }
  }
  if (options.json) {
    printLine({{"machine", machineJson(machine, ceilings, pool.size())},
               {"interventions", interventionsJson(loaded.interventions)},
               {"results", std::move(results)}});
  }
  return kDone;
}

}  // namespace

void addBenchCommand(CLI::App& parser, Action& action) {
  constexpr std::uint64_t kMostTokens = 10'000'000;
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
  tokens("--traced", options->traced, "This many steps without a trace, with a summary and with everything");
  tokens("--scan", options->scan, "The RG-LRU alone over this many tokens");
  command->add_flag("--snapshot", options->snapshot, "A copy of the state");
  command
      ->add_option(
          "--rewind", options->rewind,
          "Back to the middle of a conversation of this many tokens, 0 and 63 steps from a key-frame")
      ->check(wholeNumber(1024, kMostTokens))
      ->type_name("N");
  command->add_option("--context", options->context, "Position to begin at, the window filled [0]")
      ->check(wholeNumber(0, std::uint64_t{1} << 40U))
      ->type_name("N");
  command->add_option("--repeats", options->repeats, "Runs of each part, the median of which counts [5]")
      ->check(wholeNumber(1, 1000))
      ->type_name("N");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer("Without a part named: --prefill 512 --decode 32.");
  command->callback([options, &action] { action = [options] { return bench(*options); }; });
}

}  // namespace eyrie::app
