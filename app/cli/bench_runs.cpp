#include "app/cli/bench_runs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <random>

#include "engine/error.h"
#include "engine/state_log.h"
#include "kernels/complex_rg_lru.h"
#include "kernels/op_cost.h"
#include "kernels/packed_matrix.h"
#include "kernels/rg_lru.h"

namespace eyrie::app {
namespace {

constexpr double kFloatBytes = 4;
constexpr kernels::DrawRule kDraw{0.8F, 0, 0.95F, 0, 0.5};  // steps as generation takes them

double secondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<float> noise(std::int64_t n, float scale) {
  std::mt19937 engine(static_cast<std::uint32_t>(n));
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(engine);
  return values;
}

std::int32_t tokenAt(std::int64_t position, std::int64_t V) {
  return static_cast<std::int32_t>(position * 7919 % V);
}

}  // namespace

double BenchResult::amount() const {
  if (limit == Limit::none) return std::nan("");
  return limit == Limit::bandwidth || limit == Limit::cardCopy ? bytes : flops;
}

double BenchResult::rate() const {
  return amount() / median();
}

std::vector<double> BenchResult::shares() const {
  if (std::isnan(ceiling())) return {};
  std::vector<double> shares;
  for (std::size_t i = 0; i < seconds.size(); ++i)
    shares.push_back(100 * amount() / seconds[i] / ((ceilings[i] + ceilings[i + 1]) / 2));
  return shares;
}

BenchRuns::BenchRuns(const LoadedModel& loaded, kernels::ThreadPool& pool, Ceilings& ceilings, int repeats,
                     std::stop_token stop)
    : loaded_(loaded),
      model_(*loaded.model),
      config_(model_.config()),
      pool_(pool),
      ceilings_(ceilings),
      repeats_(repeats),
      stop_(std::move(stop)) {}

void BenchRuns::checkStop() const {
  if (stop_.stop_requested()) throw engine::Error(engine::ErrorCode::cancelled, "cancelled");
}

engine::SequenceState BenchRuns::stateAt(std::int64_t context) const {
  if (context == 0) return loaded_.newState();
  engine::HostState state;
  state.position = context;
  for (std::int64_t layerIdx = 0; layerIdx < config_.L; ++layerIdx) {
    engine::LayerState layer;
    if (config_.blocks[static_cast<std::size_t>(layerIdx)] == engine::BlockKind::recurrent) {
      layer.h = noise(config_.R, 0.1F);
      layer.tail = noise((config_.K - 1) * config_.R, 0.1F);
    } else {
      const std::int64_t keys = engine::rememberedKeys(config_, layerIdx, context);
      layer.keys = noise(keys * config_.kvHeads * config_.Dh, 0.1F);
      layer.values = layer.keys;
    }
    state.layers.push_back(std::move(layer));
  }
  return loaded_.restoreState(state);
}

double BenchRuns::visibleKeys(std::int64_t position) const {
  double keys = 0;
  for (std::int64_t layerIdx = 0; layerIdx < config_.L; ++layerIdx) {
    if (config_.blocks[static_cast<std::size_t>(layerIdx)] == engine::BlockKind::recurrent) continue;
    keys += static_cast<double>(engine::rememberedKeys(config_, layerIdx, position) + 1);
  }
  return keys;
}

double BenchRuns::weightBytes() const {
  return static_cast<double>(model_.stepBytes());
}

double BenchRuns::matrixParameters() const {
  const engine::Checkpoint& checkpoint = model_.checkpoint();
  double parameters = 0;
  for (const engine::StoredTensor& tensor : checkpoint.tensors()) {
    const bool matrix = tensor.shape.size() > 1 && tensor.name != checkpoint.tensors().front().name &&
                        tensor.name != checkpoint.outputHead().name;
    if (!matrix) continue;
    double elements = 1;
    for (const std::int64_t axis : tensor.shape) elements *= static_cast<double>(axis);
    parameters += elements;
  }
  return parameters;
}

BenchResult BenchRuns::describeDecode(const DecodeRun& run) const {
  const auto steps = static_cast<double>(run.steps);
  const auto sequences = static_cast<double>(run.batch);
  const auto heads = static_cast<double>(config_.V * config_.D);
  const auto keyWidth = static_cast<double>(config_.kvHeads * config_.Dh);
  const auto queryWidth = static_cast<double>(config_.H * config_.Dh);
  const double keys = visibleKeys(run.context);
  BenchResult result;
  result.name = "decode";
  result.tokens = run.steps * run.batch;
  result.batch = run.batch;
  result.context = run.context;
  result.limit = run.batch == 1 ? memoryLimit() : productLimit();
  result.bytes = steps * (weightBytes() + sequences * 2 * kFloatBytes * keyWidth * keys);
  result.flops = steps * sequences * (2 * (matrixParameters() + heads) + 4 * queryWidth * keys);
  return result;
}

double BenchRuns::timeDecode(const DecodeRun& run) {
  std::vector<engine::SequenceState> states;
  states.push_back(stateAt(run.context));
  while (std::ssize(states) < run.batch) states.push_back(states.front().clone());
  std::vector<engine::SequenceStep> next;
  for (engine::SequenceState& state : states) next.push_back({&state, 0, nullptr, kDraw});
  return secondsOf([&] {
    for (std::int64_t i = 0; i < run.steps; ++i) {
      checkStop();
      for (std::size_t who = 0; who < next.size(); ++who)
        next[who].token = tokenAt(run.context + i + static_cast<std::int64_t>(who), config_.V);
      model_.predict(next);
    }
  });
}

std::vector<BenchResult> BenchRuns::decode(const std::vector<DecodeRun>& runs) {
  std::vector<BenchResult> results;
  for (DecodeRun run : runs) {
    results.push_back(describeDecode(run));
    run.steps = 1;
    timeDecode(run);  // pages of the file, buffers
  }
  takeTurns(results, [&](std::size_t kind) { return timeDecode(runs[kind]); });
  return results;
}

double BenchRuns::timeStep(engine::SequenceState& state, engine::TraceFrame* frame,
                           const engine::FrameLayout* trace) {
  checkStop();
  const std::int32_t token = tokenAt(state.position(), config_.V);
  return secondsOf([&] { model_.predict(state, token, kDraw, frame, trace); });
}

bool BenchRuns::onCard() const {
  return loaded_.info.backend.starts_with("cuda");
}

bool BenchRuns::quantised() const {
  return loaded_.info.summary.dtype == "int8" || loaded_.info.summary.dtype == "int4";
}

Limit BenchRuns::productLimit() const {
  if (onCard()) return Limit::cardGemm;
  return quantised() ? Limit::int8Gemm : Limit::f32Gemm;
}

double BenchRuns::productFlops(std::int64_t tokens) const {
  return 2 * (matrixParameters() * static_cast<double>(tokens) + static_cast<double>(config_.V * config_.D));
}

BenchResult BenchRuns::describePrefill(std::int64_t tokens, std::int64_t context) const {
  BenchResult result;
  result.name = "prefill";
  result.tokens = tokens;
  result.context = context;
  result.limit = productLimit();
  result.bytes = weightBytes();
  double keys = 0;
  for (std::int64_t t = 0; t < tokens; ++t) keys += visibleKeys(context + t);
  result.flops = productFlops(tokens) + 4 * static_cast<double>(config_.H * config_.Dh) * keys;
  return result;
}

double BenchRuns::timePrefill(std::int64_t tokens, std::int64_t context) {
  std::vector<std::int32_t> text;
  for (std::int64_t t = 0; t < tokens; ++t) text.push_back(tokenAt(context + t, config_.V));
  engine::SequenceState state = stateAt(context);
  const double seconds =
      secondsOf([&] { model_.prefill(state, text, engine::LogitRows::last, nullptr, nullptr, stop_); });
  checkStop();
  return seconds;
}

BenchResult BenchRuns::prefill(std::int64_t tokens, std::int64_t context) {
  constexpr std::int64_t kWarm = 64;
  std::vector<BenchResult> results{describePrefill(tokens, context)};
  timePrefill(std::min(tokens, kWarm), context);
  takeTurns(results, [&](std::size_t) { return timePrefill(tokens, context); });
  return std::move(results.front());
}

BenchResult BenchRuns::scanOnCard(std::int64_t tokens) {
  constexpr std::int64_t kSequences = 8;
  if (config_.rgLru == engine::RgLru::complex)
    throw engine::Error(engine::ErrorCode::unsupported, "scan: no complex RG-LRU on a card");
  kernels::cuda::ScanProbe probe(tokens, config_.R, kSequences);
  BenchResult result;
  result.name = "scan";
  result.tokens = kSequences * tokens;
  result.batch = kSequences;
  result.limit = Limit::cardCopy;
  result.bytes = probe.cost().bytes;
  result.flops = probe.cost().flops;
  probe.seconds();
  std::vector<BenchResult> results{std::move(result)};
  takeTurns(results, [&](std::size_t) { return probe.seconds(); });
  return std::move(results.front());
}

BenchResult BenchRuns::scan(std::int64_t tokens) {
  if (onCard()) return scanOnCard(tokens);
  const std::int64_t C = config_.channels();
  std::vector<float> x = noise(tokens * config_.R, 1.0F);
  const std::vector<float> recurrence = noise(tokens * C, 2.0F);
  const std::vector<float> input = noise(tokens * C, 1.5F);
  const std::vector<float> rate(static_cast<std::size_t>(C), kernels::decayRateOf(-4.0F));
  const std::vector<float> angle = noise(C, 0.3F);
  std::vector<float> h(static_cast<std::size_t>(config_.R));
  if (config_.rgLru == engine::RgLru::complex) {
    kernels::ComplexRgLruArgs args;
    args.x = x.data();
    args.inputPre = input.data();
    args.recurrencePre = recurrence.data();
    args.decayRate = rate.data();
    args.angleRate = angle.data();
    args.state = h.data();
    args.T = tokens;
    args.C = C;
    args.out = x.data();  // in place, as the engine does it
    return timedScan(tokens, kernels::opCost(args), [&] { kernels::cpu::complexRgLru(args, pool_); });
  }
  kernels::RgLruArgs args;
  args.x = x.data();
  args.inputPre = input.data();
  args.recurrencePre = recurrence.data();
  args.decayRate = rate.data();
  args.state = h.data();
  args.T = tokens;
  args.R = config_.R;
  args.out = x.data();
  return timedScan(tokens, kernels::opCost(args), [&] { kernels::cpu::rgLru(args, pool_); });
}

double BenchRuns::timeScanInCache(std::int64_t tokens) {
  constexpr std::int64_t kTokens = 8;
  constexpr std::int64_t kChannels = 256;
  const std::int64_t threads = pool_.size();
  const std::int64_t calls = tokens * config_.R / (kTokens * kChannels * threads);
  const std::vector<float> x = noise(kTokens * kChannels, 1.0F);
  const std::vector<float> rate(kChannels, kernels::decayRateOf(-4.0F));
  kernels::ThreadPool alone(1);
  const auto work = [&](std::int64_t, std::int64_t, int) {
    std::array<float, kChannels> h{};
    std::array<float, kTokens * kChannels> out;
    kernels::RgLruArgs args;
    args.x = x.data();
    args.inputPre = x.data();
    args.recurrencePre = x.data();
    args.decayRate = rate.data();
    args.state = h.data();
    args.T = kTokens;
    args.R = kChannels;
    args.out = out.data();
    for (std::int64_t i = 0; i < calls; ++i) kernels::cpu::rgLru(args, alone);
  };
  return medianSeconds([&] { pool_.parallelFor(threads, 1, work); });
}

double BenchRuns::timeSumInPlace(std::int64_t tokens) {
  const std::int64_t R = config_.R;
  std::vector<float> x(static_cast<std::size_t>(tokens * R), 1.0F);
  const std::vector<float> y = x;
  const std::vector<float> z = x;
  const auto work = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t i = t * R + begin; i < t * R + end; ++i) {
        const auto at = static_cast<std::size_t>(i);
        x[at] += y[at] + z[at];
      }
    }
  };
  return medianSeconds([&] { pool_.parallelFor(R, (R + pool_.size() - 1) / pool_.size(), work); });
}

double BenchRuns::medianSeconds(const std::function<void()>& work) const {
  std::vector<double> seconds;
  for (int i = 0; i < repeats_; ++i) {
    checkStop();
    seconds.push_back(secondsOf(work));
  }
  return spreadOf(seconds).median;
}

BenchResult BenchRuns::timedScan(std::int64_t tokens, const kernels::OpCost& cost,
                                 const std::function<void()>& run) {
  BenchResult result;
  result.name = "scan";
  result.tokens = tokens;
  result.limit = Limit::bandwidth;
  result.bytes = cost.bytes;
  result.flops = cost.flops;
  return measured(std::move(result), run);
}

BenchResult BenchRuns::quantise(kernels::DType to, QuantisedRows which) {
  constexpr std::int64_t kInCache = std::int64_t{1} << 17;  // weights of a thread
  constexpr std::int64_t kTile = 32;
  const std::int64_t small = pool_.size() * std::max(kTile, kInCache / config_.D / kTile * kTile);
  const std::int64_t rows = which == QuantisedRows::inCache ? small : 2 * config_.E;
  std::vector<std::uint16_t> stored;
  for (const float value : noise(rows * config_.D, 0.02F)) {
    stored.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
  }
  std::vector<std::byte> packed(static_cast<std::size_t>(kernels::packedBytes(to, rows, config_.D)));
  const kernels::MatrixView from{stored.data(), kernels::DType::bf16, rows, config_.D};
  BenchResult result;
  result.name = "quantise";
  result.limit = Limit::bandwidth;
  result.bytes = static_cast<double>(stored.size() * sizeof(std::uint16_t));
  return measured(std::move(result), [&] { kernels::cpu::pack(from, to, packed.data(), pool_); });
}

BenchResult BenchRuns::snapshot(std::int64_t context) {
  const engine::SequenceState state = stateAt(context);
  BenchResult result;
  result.name = "snapshot";
  result.limit = memoryLimit();
  result.context = context;
  result.bytes = 2 * static_cast<double>(state.bytes());  // read and written
  return measured(std::move(result), [&] { const engine::SequenceState copy = state.clone(); });
}

std::vector<BenchResult> BenchRuns::rewind(std::int64_t tokens) {
  constexpr std::int64_t kRead = 512;
  constexpr std::int64_t kWritten = 128;
  engine::StateLog log(config_);
  engine::SequenceState state = model_.newState();
  state.watch(&log);
  const auto feed = [&](std::int64_t chunk, std::int64_t end) {
    while (state.position() < std::min(end, tokens)) {
      checkStop();
      std::vector<std::int32_t> next;
      for (std::int64_t i = 0; i < std::min(chunk, tokens - state.position()); ++i) {
        next.push_back(tokenAt(state.position() + i, config_.V));
      }
      model_.prefill(state, next, engine::LogitRows::none);
    }
  };
  while (state.position() < tokens) {
    feed(kRead, state.position() + 1);
    feed(1, state.position() + kWritten);
  }
  // The end of the reading before the middle, where a key-frame stands, and the steps after it.
  const std::int64_t keyFrame = tokens / 2 / (kRead + kWritten) * (kRead + kWritten) + kRead;
  std::vector<BenchResult> results;
  for (const std::int64_t replayed : {std::int64_t{0}, engine::StateLogOptions().interval - 1}) {
    BenchResult result;
    result.name = "rewind";
    result.tokens = replayed;
    result.context = std::min(tokens, keyFrame + replayed);
    result.bytes = static_cast<double>(state.bytes());
    results.push_back(measured(std::move(result), [&] {
      const engine::Rewound back = log.rewind(model_, std::min(tokens, keyFrame + replayed));
    }));
  }
  return results;
}

BenchResult BenchRuns::measured(BenchResult result, const std::function<void()>& work) {
  std::vector<BenchResult> results{std::move(result)};
  work();
  takeTurns(results, [&](std::size_t) { return secondsOf(work); });
  return std::move(results.front());
}

}  // namespace eyrie::app
