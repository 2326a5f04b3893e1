#include "app/cli/bench_report.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "kernels/cpu/instruction_set.h"

namespace eyrie::app {
namespace {

Json spreadJson(const Spread& spread, double unit) {
  return {{"median", number(spread.median / unit)},
          {"least", number(spread.least / unit)},
          {"most", number(spread.most / unit)},
          {"runs", spread.runs}};
}

// Empty where nothing was measured against a ceiling.
std::string shareOf(const std::vector<double>& shares, Limit limit) {
  const Spread spread = spreadOf(shares);
  if (spread.runs == 0) return {};
  if (spread.runs == 1) return fmt::format("{:.1f} % of {}", spread.median, nameOf(limit));
  return fmt::format("{:.1f} % ({:.1f} to {:.1f}) of {}", spread.median, spread.least, spread.most,
                     nameOf(limit));
}

// A line of a Markdown table.
void printRow(std::string_view figure, std::string_view value, std::string_view rate, std::string_view goal,
              std::string_view verdict) {
  print(fmt::format("| {:<54} | {:<36} | {:<64} | {:<26} | {:<12} |\n", figure, value, rate, goal, verdict));
}

}  // namespace

Json resultJson(const BenchResult& result, const std::string& dtype) {
  const Spread spread = spreadOf(result.seconds);
  const Spread shares = spreadOf(result.shares());
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
          {"percent_of_ceiling", number(shares.median)},
          {"percent_least", number(shares.least)},
          {"percent_most", number(shares.most)}};
}

Json figureJson(const Figure& figure, const std::string& dtype) {
  const Spread spread = figure.spread();
  const Spread shares = spreadOf(figure.shares);
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
          {"ceiling", number(figure.ceilings.median / kGiga)},
          {"ceiling_least", number(figure.ceilings.least / kGiga)},
          {"ceiling_most", number(figure.ceilings.most / kGiga)},
          {"ceiling_name", limited ? Json(nameOf(figure.limit)) : Json()},
          {"percent_of_ceiling", number(shares.median)},
          {"percent_least", number(shares.least)},
          {"percent_most", number(shares.most)},
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
          {"card_copy_gb_per_s", median(Limit::cardCopy)},
          {"card_gemm_gflops", median(Limit::cardGemm)},
          {"ceilings", std::move(spreads)}};
}

void printMachine(const Machine& machine, const LoadedModel& loaded) {
  const std::string remark = loaded.model->backendRemark();
  print(fmt::format("{}, {} cores; {}{}\n{}, {}\n", machine.processor, machine.cores,
                    loaded.model->backendName(), remark.empty() ? "" : fmt::format(" ({})", remark),
                    loaded.info.name, loaded.info.summary.dtype));
}

void printCeilings(const Ceilings& ceilings) {
  std::string line = "ceilings: ";
  for (const Limit limit : kCeilings) {
    const Spread spread = ceilings.spread(limit);
    if (spread.runs == 0) continue;
    line += fmt::format("{} {:.1f} {} ({:.1f} to {:.1f}, {} times), ", nameOf(limit), spread.median / kGiga,
                        unitOf(limit), spread.least / kGiga, spread.most / kGiga, spread.runs);
  }
  for (const Limit limit : kCeilings) {
    const std::string why = ceilings.whyNot(limit);
    if (!why.empty()) line += fmt::format("{} not measured: {}, ", nameOf(limit), why);
  }
  print(line + fmt::format("read of {:.2f} GiB\n", double(ceilings.readBytes()) / double(1 << 30)));
}

void printResultsHead() {
  print(fmt::format("\n{:<22}{:>8}{:>10}{:>14}\n", "", "tokens", "context", "median"));
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
  const std::string share = shareOf(result.shares(), result.limit);
  if (!share.empty()) line += "  " + share;
  print(line + "\n");
  flushOutput();
}

void printGoalsHead() {
  print("\n");
  printRow("figure", "median (least to most)", "rate", "goal", "");
  print("|---|---|---|---|---|\n");
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
  const std::string share = shareOf(figure.shares, figure.limit);
  if (!share.empty()) add(share);
  const char* verdict = figure.goal.empty() ? ""
                        : !figure.met       ? "not measured"
                        : *figure.met       ? "met"
                                            : "missed";
  printRow(figure.name, value, rate, figure.goal, verdict);
  flushOutput();
}

}  // namespace eyrie::app
