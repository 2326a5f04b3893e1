#include "app/cli/bench_goals.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "app/cli/bench_reasons.h"
#include "app/cli/bench_shares.h"
#include "app/cli/machine.h"

namespace eyrie::app {
namespace {

constexpr std::int64_t kFar = 1'000'000;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr GoalBounds kCpuGoals{.decode = 90,
                               .decodeInt8 = 85,
                               .decodeInt4 = 75,
                               .prefill = 85,
                               .int8Decode = 1.75,
                               .int4Decode = 3,
                               .int8Prefill = 1.4,
                               .scan = 85,
                               .batch = 16,
                               .batchTimes = 5,
                               .loadSeconds = 1,
                               .upload = kNone};
constexpr GoalBounds kCardGoals{.decode = 85,
                                .decodeInt8 = kNone,
                                .decodeInt4 = kNone,
                                .prefill = 70,
                                .int8Decode = 1.8,
                                .int4Decode = 3,
                                .int8Prefill = kNone,
                                .scan = 85,
                                .batch = 64,
                                .batchTimes = 25,
                                .loadSeconds = kNone,
                                .upload = 80};
}  // namespace

const std::vector<std::string>& goalParts() {
  static const std::vector<std::string> parts{"load", "memory",   "decode", "prefill",  "stored", "shares",
                                              "scan", "position", "traces", "snapshot", "batch"};
  return parts;
}

bool GoalOptions::wants(const std::string& part) const {
  return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end();
}

BenchGoals::BenchGoals(const LoadedModel& loaded, kernels::ThreadPool& pool, Ceilings& ceilings,
                       BenchRuns& runs, GoalOptions options, LoadStored loadStored)
    : loaded_(loaded),
      config_(loaded.model->config()),
      pool_(pool),
      ceilings_(ceilings),
      runs_(runs),
      options_(std::move(options)),
      bounds_(runs.onCard() ? kCardGoals : kCpuGoals),
      loadStored_(std::move(loadStored)) {}

bool BenchGoals::hasOpClock() const {
  return !loaded_.info.backend.starts_with("reference") && !runs_.onCard();
}

DecodeRun BenchGoals::stepsAt(std::int64_t context, std::int64_t batch) const {
  return {steps(), context, batch};
}

// Runs so long that neither clocks nor other programs' turns decide.
std::int64_t BenchGoals::steps() const {
  constexpr double kSeconds = 0.25;
  if (options_.decode > 0) return options_.decode;
  const double step =
      runs_.describeDecode({1, options_.context}).bytes / ceilings_.spread(runs_.memoryLimit()).median;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(kSeconds / step), 16, 1024);
}

Figure BenchGoals::memory(std::uint64_t residentBefore, std::stop_token stop) {
  constexpr std::int64_t kSteps = 8;
  engine::SequenceState state = loaded_.newState();
  const auto feed = [&](std::int64_t tokens) {
    const std::vector<std::int32_t> text(static_cast<std::size_t>(tokens), 0);
    loaded_.model->prefill(state, text, engine::LogitRows::last, nullptr, nullptr, stop);
    runs_.checkStop();
  };
  feed(options_.prefill.front());
  for (std::int64_t i = 0; i < kSteps; ++i) feed(1);
  const auto weights = static_cast<double>(loaded_.model->stepBytes());
  const auto stateBytes = static_cast<double>(state.bytes());
  const auto peak = static_cast<double>(peakResidentBytes() - std::min(peakResidentBytes(), residentBefore));
  const double bound = 1.05 * weights + stateBytes;
  const std::string read = fmt::format("{} tokens read and {} written", options_.prefill.front(), kSteps);
  if (runs_.onCard()) {
    return {
        .part = "memory", .name = "peak memory of the host, " + read, .unit = "GB", .values = {peak / kGiga}};
  }
  return {
      .part = "memory",
      .name = "peak memory, " + read,
      .unit = "GB",
      .values = {peak / kGiga},
      .goal = fmt::format("≤ {:.3f} GB", bound / kGiga),
      .met = peak <= bound,
      .note = fmt::format("weights {:.3f} GB + 5 % + state {:.3f} GB; the program itself, {:.3f} GB, not "
                          "counted; in the end {:.3f} GB are pages of files, which the system can take back",
                          weights / kGiga, stateBytes / kGiga, static_cast<double>(residentBefore) / kGiga,
                          static_cast<double>(residentFileBytes()) / kGiga)};
}

double BenchGoals::estimate() {
  const double bandwidth = ceilings_.measure(runs_.memoryLimit());
  const double gemm = ceilings_.measure(runs_.onCard() ? Limit::cardGemm : Limit::f32Gemm);
  const auto reading = [&](std::int64_t tokens) {
    return std::isnan(gemm) ? 0 : runs_.describePrefill(tokens, options_.context).flops / gemm;
  };
  const double decode = runs_.describeDecode(stepsAt(options_.context)).bytes / bandwidth;
  double seconds = 0;
  if (options_.wants("decode")) seconds += decode;
  if (options_.wants("prefill")) {
    for (const std::int64_t tokens : options_.prefill) seconds += reading(tokens);
  }
  if (options_.wants("stored") && runs_.quantised())
    seconds += 4 * decode + 2 * reading(options_.prefill.front());
  if (options_.wants("shares")) seconds += decode + reading(options_.prefill.front());
  if (options_.wants("position")) seconds += 2 * decode;
  if (options_.wants("traces")) seconds += 3 * decode;
  return 1.2 * options_.repeats * seconds;
}

BenchGoals::Figures BenchGoals::load(const LoadTimes& times) {
  Figure figure{.part = "load",
                .name = "from the program's start to the first token's",
                .unit = "s",
                .values = times.seconds};
  atMost(figure, bounds_.loadSeconds);
  if (times.quantisedBytes > 0) {
    addNote(figure,
            fmt::format("the first load quantised {:.2f} GB and kept the result: {:.2f} s, {:.2f} GB/s",
                        times.quantisedBytes / kGiga, times.seconds.front(),
                        times.quantisedBytes / kGiga / times.seconds.front()));
  }
  if (figure.met == false) {
    const double bytes = static_cast<double>(loaded_.model->stepBytes());
    addNote(figure, fmt::format("reading its {:.2f} GB of weights once takes {:.2f} s", bytes / kGiga,
                                bytes / ceilings_.measure(runs_.memoryLimit())));
  }
  if (!runs_.onCard()) return runs_.quantised() ? Figures{figure, quantising()} : Figures{figure};
  Figure upload{
      .part = "load", .name = "weights on their way to the card", .unit = "GB/s", .limit = Limit::cardBus};
  ceilings_.measureUpload();  // pages, threads
  for (int i = 0; i < options_.repeats; ++i) {
    const double bus = ceilings_.measure(Limit::cardBus);
    const double rate = ceilings_.measureUpload();
    upload.values.push_back(rate / kGiga);
    upload.shares.push_back(100 * rate / bus);
  }
  upload.rate = kGiga * upload.spread().median;
  upload.ceilings = ceilings_.spread(Limit::cardBus);
  atLeastPercent(upload, bounds_.upload);
  return {figure, upload};
}

Figure BenchGoals::quantising() {
  // There is one: the weights were quantised to it.
  const kernels::DType to =
      engine::conversionNamed(loaded_.info.summary.dtype).value_or(kernels::DType::int8);
  const BenchResult result = runs_.quantise(to, BenchRuns::QuantisedRows::ofALayer);
  Figure figure = figureOf("load", "bf16 weights quantised", result);
  figure.unit = "GB/s";
  figure.values = result.seconds;
  for (double& value : figure.values) value = result.bytes / kGiga / value;
  atLeast(figure, 1);
  if (figure.met == false) addNote(figure, quantisingInCache(runs_, to));
  return figure;
}

BenchGoals::Figures BenchGoals::decode() {
  const BenchResult result = runs_.decode({stepsAt(options_.context)}).front();
  Figure figure = figureOf("decode", fmt::format("decode at {}, a token", options_.context), result);
  figure.values = scaled(figure.values, 1 / static_cast<double>(result.tokens));
  const std::string& dtype = loaded_.info.summary.dtype;
  atLeastPercent(figure, dtype == "int8"   ? bounds_.decodeInt8
                         : dtype == "int4" ? bounds_.decodeInt4
                                           : bounds_.decode);
  if (hasOpClock() && figure.met == false) addNote(figure, stepsMerelyRead(runs_, stepsAt(options_.context)));
  return {figure};
}

BenchGoals::Figures BenchGoals::prefill() {
  Figures figures;
  for (const std::int64_t tokens : options_.prefill) {
    Figure figure = figureOf("prefill", fmt::format("prefill {}", tokens), runs_.prefill(tokens, 0));
    if (!runs_.quantised()) atLeastPercent(figure, bounds_.prefill);
    if (hasOpClock() && figure.met == false)
      addNote(figure, whereReadingGoes(runs_, tokens, figure.ceilings.median));
    if (figure.shares.empty()) {
      figure.note = fmt::format("{} not measured: {}", nameOf(figure.limit), ceilings_.whyNot(figure.limit));
    }
    figures.push_back(std::move(figure));
  }
  return figures;
}

BenchGoals::Figures BenchGoals::stored() {
  if (!runs_.quantised()) return {};
  const LoadedModel stored = loadStored_();
  BenchRuns theirs(stored, pool_, ceilings_, options_.repeats, {});
  const std::int64_t tokens = options_.prefill.front();
  const auto faster = [&](std::string name, double bound, const auto& timeOf) {
    Figure figure{.part = "stored", .name = std::move(name), .unit = "x"};
    timeOf(theirs, true);
    timeOf(runs_, true);
    for (int i = 0; i < options_.repeats; ++i) {
      runs_.checkStop();
      const double slow = timeOf(theirs, false);
      figure.values.push_back(slow / timeOf(runs_, false));
    }
    atLeast(figure, bound);
    return figure;
  };
  const auto timeWriting = [&](BenchRuns& runs, bool warm) {
    return runs.timeDecode({warm ? 1 : steps(), options_.context});
  };
  const auto timeReading = [&](BenchRuns& runs, bool warm) {
    return runs.timePrefill(warm ? std::min<std::int64_t>(tokens, 64) : tokens, 0);
  };
  const std::string& dtype = stored.info.summary.dtype;
  const bool int8 = loaded_.info.summary.dtype == "int8";
  Figure writing = faster(fmt::format("decode, times as fast as {}", dtype),
                          int8 ? bounds_.int8Decode : bounds_.int4Decode, timeWriting);
  Figure reading = faster(fmt::format("prefill {}, times as fast as {}", tokens, dtype),
                          int8 ? bounds_.int8Prefill : kNone, timeReading);
  if (writing.met == false) {
    writing.note = fmt::format("it reads {:.2f} times fewer bytes",
                               theirs.describeDecode(stepsAt(options_.context)).bytes /
                                   runs_.describeDecode(stepsAt(options_.context)).bytes);
  }
  if (reading.met == false && hasOpClock()) addNote(reading, productsCompared(theirs, runs_, tokens));
  return {writing, reading};
}

BenchGoals::Figures BenchGoals::shares() {
  const std::int64_t tokens = options_.prefill.front();
  const std::string reading = fmt::format("prefill {} at {}", tokens, options_.context);
  const std::string names[] = {"RG-LRU step, share of " + reading,
                               fmt::format("RG-LRU step, share of decode at {}", options_.context),
                               "attention, share of " + reading};
  if (!hasOpClock()) {
    Figures figures;
    for (const std::string& name : names) {
      figures.push_back(unmeasured("shares", name, "%", "kernels of this backend are not timed one by one"));
    }
    return figures;
  }
  runs_.timeDecode({1, options_.context});
  const Shares prefill =
      sharesOf(options_.repeats, [&] { return runs_.timePrefill(tokens, options_.context); });
  const Shares decode =
      sharesOf(options_.repeats, [&] { return runs_.timeDecode(stepsAt(options_.context)); });
  Figure scan{.part = "shares", .name = names[0], .unit = "%", .values = prefill.recurrence};
  Figure step{.part = "shares", .name = names[1], .unit = "%", .values = decode.recurrence};
  Figure attention{.part = "shares", .name = names[2], .unit = "%", .values = prefill.attention};
  scan.note = prefill.describe();
  step.note = decode.describe();
  const bool recurrent = config_.hasKind(engine::BlockKind::recurrent);
  if (!recurrent) scan = unmeasured("shares", names[0], "%", "no recurrent layers");
  if (!recurrent) step = unmeasured("shares", names[1], "%", "no recurrent layers");
  if (!config_.hasKind(engine::BlockKind::localAttention)) {
    attention = unmeasured("shares", names[2], "%", "no layers of local attention");
  }
  atMost(scan, 3);
  atMost(step, 3);
  atMost(attention, 10);
  if (attention.met == false) addNote(attention, prefill.describe());
  return {scan, step, attention};
}

BenchGoals::Figures BenchGoals::scan() {
  const std::string name = fmt::format("RG-LRU alone, {} tokens", options_.scan);
  if (!config_.hasKind(engine::BlockKind::recurrent)) {
    Figure none = unmeasured("scan", name, "ms", "no recurrent layers");
    none.limit = runs_.memoryLimit();
    atLeastPercent(none, bounds_.scan);
    return {none};
  }
  const BenchResult result = runs_.scan(options_.scan);
  Figure figure =
      figureOf("scan", result.batch == 1 ? name : fmt::format("{} x {}", name, result.batch), result);
  atLeastPercent(figure, bounds_.scan);
  if (config_.rgLru == engine::RgLru::real && !runs_.onCard()) addNote(figure, scanTakenApart(runs_, result));
  return {figure};
}

BenchGoals::Figures BenchGoals::position() {
  const std::string slower = fmt::format("a token at {} ÷ at {}", kFar, options_.context);
  const std::string growth = fmt::format("memory at {} less that at {}", kFar, options_.context);
  if (config_.hasKind(engine::BlockKind::globalAttention)) {
    const std::string note = "global attention keeps every token";
    Figures figures{unmeasured("position", slower, "x", note), unmeasured("position", growth, "MB", note)};
    atMost(figures[0], 1.03);
    atMost(figures[1], 1);
    return figures;
  }
  const auto results = runs_.decodeInTurns(steps(), {{kFar}, {options_.context}});
  Figure time{.part = "position",
              .name = slower,
              .unit = "x",
              .values = ratios(results[0].seconds, results[1].seconds)};
  atMost(time, 1.03);
  tellSpread(time, results[1]);

  struct Memory {
    std::uint64_t resident;
    std::uint64_t state;
  };
  const auto memoryAt = [&](std::int64_t context) {
    engine::SequenceState state = runs_.stateAt(context);
    for (int i = 0; i < 4; ++i) loaded_.model->step(state, 0);
    return Memory{residentBytes(), state.bytes()};
  };
  memoryAt(kFar);  // what is allocated on first use
  const Memory near = memoryAt(options_.context);
  const Memory far = memoryAt(kFar);
  const auto megabytes = [](std::uint64_t more, std::uint64_t less) {
    return (static_cast<double>(more) - static_cast<double>(less)) / 1e6;
  };
  Figure memory{
      .part = "position", .name = growth, .unit = "MB", .values = {megabytes(far.resident, near.resident)}};
  // The system counts in pages, and hands them out and takes them back in larger pieces.
  atMost(memory, 1);
  memory.note = fmt::format("the state itself: {:+.3f} MB", megabytes(far.state, near.state));
  return {time, memory};
}

BenchGoals::Figures BenchGoals::traces() {
  const auto results = runs_.tracedDecode(steps(), options_.context);
  const auto cost = [&](std::size_t kind, const char* name, double bound) {
    std::vector<double> percent;
    for (const double ratio : ratios(results[kind].seconds, results[0].seconds)) {
      percent.push_back(100 * (ratio - 1));
    }
    Figure figure{.part = "traces", .name = name, .unit = "%", .values = std::move(percent)};
    atMost(figure, bound);
    tellSpread(figure, results[0]);
    if (hasOpClock() && figure.met == false) {
      const double more = results[kind].besideProducts - results[0].besideProducts;
      const double step = results[0].median() / static_cast<double>(results[0].tokens);
      addNote(figure, fmt::format("beside the matrices, which a trace leaves alone, a step takes {:.2f} ms "
                                  "more, {:.1f} % of it",
                                  1e3 * more, 100 * more / step));
    }
    return figure;
  };
  return {cost(1, "summary trace, more time a token", 2), cost(2, "full trace, more time a token", 10)};
}

BenchGoals::Figures BenchGoals::snapshot() {
  const auto copyAt = [&](std::int64_t context, const std::string& name, double bound) {
    const BenchResult result = runs_.snapshot(context);
    Figure figure = figureOf("snapshot", name, result);
    atMost(figure, bound);
    if (figure.met == false && !runs_.onCard()) {
      const auto bytes = static_cast<std::uint64_t>(result.bytes / 2);  // read and written
      addNote(figure, copyTakenApart(runs_, pool_, bytes));
    }
    return figure;
  };
  Figures figures{copyAt(options_.context, fmt::format("copy of the state at {}", options_.context), 10)};
  // Before the first token there are no keys yet.
  if (config_.hasKind(engine::BlockKind::recurrent))
    figures.push_back(copyAt(0, "copy of its recurrent part", 0.5));
  return figures;
}

BenchGoals::Figures BenchGoals::batch() {
  const auto results = runs_.decode({stepsAt(options_.context), stepsAt(options_.context, bounds_.batch)});
  Figure figure = figureOf(
      "batch",
      fmt::format("decode of {} sequences at {}, times the tokens of one", bounds_.batch, options_.context),
      results[1]);
  figure.unit = "x";
  figure.values = scaled(ratios(results[0].seconds, results[1].seconds), double(bounds_.batch));
  if (!runs_.quantised()) atLeast(figure, bounds_.batchTimes);
  if (hasOpClock()) {
    const Shares shares =
        sharesOf(1, [&] { return runs_.timeDecode(stepsAt(options_.context, bounds_.batch)); });
    // Before the first token: without attention.
    const BenchResult products = runs_.describeDecode(stepsAt(0, bounds_.batch));
    const double best =
        (1 - shares.ofProducts()) * results[1].median() + products.flops / results[1].ceiling();
    figure.note = fmt::format("{}; were matrices and gates at the ceiling: {:.2f} x", shares.describe(),
                              double(bounds_.batch) * results[0].median() / best);
  }
  return {figure};
}

void BenchGoals::run(const LoadTimes& loads, const std::function<void(const Figure&)>& tell) {
  const std::pair<const char*, std::function<Figures()>> rows[] = {
      {"load", [&] { return load(loads); }},    {"decode", [&] { return decode(); }},
      {"prefill", [&] { return prefill(); }},   {"stored", [&] { return stored(); }},
      {"shares", [&] { return shares(); }},     {"scan", [&] { return scan(); }},
      {"position", [&] { return position(); }}, {"traces", [&] { return traces(); }},
      {"snapshot", [&] { return snapshot(); }}, {"batch", [&] { return batch(); }},
  };
  for (const auto& [part, measure] : rows) {
    if (!options_.wants(part)) continue;
    runs_.checkStop();
    for (const Figure& figure : measure()) tell(figure);
  }
}

}  // namespace eyrie::app
