#include "engine/verify/invariants.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/state_log.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"

namespace eyrie::engine::verify {
namespace {

constexpr std::int64_t kTokens = 40;  // more than five windows

class InvariantSuite {
 public:
  InvariantSuite(const ModelConfig& config, BackendKind backend, int threads);
  std::vector<CheckResult> run();

 private:
  void add(const std::string& name, const ModelRun& found, const ModelRun& expected);
  void prefillEqualsSteps();
  void anyChunking();
  void saveRestoreContinue();
  void rewound();
  void interleaved();
  void shortPrompts();
  void positionZeroForgets();
  void brokenVariants();

  std::string name_;
  Tolerance logits_;
  Tolerance state_;
  std::shared_ptr<Model> model_;
  std::vector<std::int32_t> tokens_;
  ModelRun whole_;  // in single steps
  std::vector<CheckResult> results_;
};

InvariantSuite::InvariantSuite(const ModelConfig& config, BackendKind backend, int threads) {
  const bool exact = backend == BackendKind::reference;
  logits_ = exact ? kSameBits : kSameLogits;
  state_ = exact ? kSameBits : kSameState;
  LoadOptions options;
  options.backend = backend;
  options.threads = threads;
  model_ = Model::load(randomCheckpoint(config, 7), options);
  name_ = fmt::format("{}{} · {}", patternString(config), config.rgLru == RgLru::complex ? " complex" : "",
                      model_->backendName());
  TestRandom random(3);
  tokens_ = random.tokens(kTokens, model_->config().V);
}

void InvariantSuite::add(const std::string& name, const ModelRun& found, const ModelRun& expected) {
  for (CheckResult& result : compareRuns(name_ + " · " + name, found, expected, logits_, state_)) {
    results_.push_back(std::move(result));
  }
}

void InvariantSuite::prefillEqualsSteps() {
  const ModelRun prefill = runModel(*model_, tokens_, kPrefill);
  add("prefill equals steps (traps 6, 23, 44)", prefill, whole_);
}

void InvariantSuite::anyChunking() {
  for (const std::int64_t chunk : {1, 2, 3, 5, 8, 13, 39}) {
    const std::string name = fmt::format("chunks of {} (traps 6, 11)", chunk);
    add(name, runModel(*model_, tokens_, {"chunks", chunk}), whole_);
  }
}

void InvariantSuite::saveRestoreContinue() {
  const std::span<const std::int32_t> tokens = tokens_;
  for (const std::size_t split : {1U, 3U, 7U, 8U, 15U, 31U}) {
    ModelRun run;
    SequenceState state = model_->newState();
    feed(*model_, state, tokens.first(split), kSteps, nullptr, run);
    const std::vector<std::byte> saved = serialiseState(state.download(), "model");
    SequenceState restored = model_->restoreState(parseState(saved, model_->config(), "model"));
    feed(*model_, restored, tokens.subspan(split), kSteps, nullptr, run);
    add(fmt::format("saved and restored after {} (trap 42)", split), run, whole_);
  }
}

// To the bit on every backend: the replay feeds as the sequence was fed.
void InvariantSuite::rewound() {
  const std::span<const std::int32_t> tokens = tokens_;
  const auto goOn = [&](SequenceState& state, ModelRun& run) {
    feed(*model_, state, tokens.subspan(30), kSteps, nullptr, run);
  };
  StateLog log(model_->config(), {6, std::uint64_t{1} << 30});
  SequenceState state = model_->newState();
  state.watch(&log);
  ModelRun ignored;
  feed(*model_, state, tokens.first(13), {"chunk", 13}, nullptr, ignored);
  feed(*model_, state, tokens.subspan(13, 9), kSteps, nullptr, ignored);
  feed(*model_, state, tokens.subspan(22, 8), {"chunks", 4}, nullptr, ignored);
  ModelRun whole;
  goOn(state, whole);
  ModelRun again;
  Rewound back = log.rewind(*model_, 30);
  goOn(back.state, again);
  for (CheckResult& result : compareRuns(name_ + " · rewound to a token, then as before (trap 43)", again,
                                         whole, kSameBits, kSameBits)) {
    results_.push_back(std::move(result));
  }
}

void InvariantSuite::interleaved() {
  TestRandom random(99);
  const std::vector<std::int32_t> others = random.tokens(kTokens, model_->config().V);
  const ModelRun otherAlone = runModel(*model_, others, kSteps);
  ModelRun one;
  ModelRun two;
  SequenceState first = model_->newState();
  SequenceState second = model_->newState();
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    feed(*model_, first, std::span(tokens_).subspan(i, 1), kSteps, nullptr, one);
    feed(*model_, second, std::span(others).subspan(i, 1), kSteps, nullptr, two);
  }
  add("two sequences, the first (traps 29, 30)", one, whole_);
  add("two sequences, the second (traps 29, 30)", two, otherAlone);
}

void InvariantSuite::shortPrompts() {
  const std::span<const std::int32_t> tokens = tokens_;
  for (const std::size_t length : {1U, 2U, 3U, 4U}) {
    ModelRun run;
    SequenceState state = model_->newState();
    feed(*model_, state, tokens.first(length), kPrefill, nullptr, run);
    feed(*model_, state, tokens.subspan(length), kSteps, nullptr, run);
    add(fmt::format("prompt of {} then steps (trap 12)", length), run, whole_);
  }
}

// At position 0 the recurrence ignores whatever stands in h: NaN must not come through.
void InvariantSuite::positionZeroForgets() {
  HostState poisoned = model_->newState().download();
  for (LayerState& layer : poisoned.layers) {
    std::fill(layer.h.begin(), layer.h.end(), std::numeric_limits<float>::quiet_NaN());
  }
  for (const Feeding& feeding : {kSteps, kPrefill}) {
    ModelRun run;
    SequenceState state = model_->restoreState(poisoned);
    feed(*model_, state, tokens_, feeding, nullptr, run);
    add(fmt::format("position 0 forgets a poisoned state, {} (traps 5, 30)", feeding.name), run, whole_);
  }
}

// What the tolerance must notice: a part of the state lost on the way.
void InvariantSuite::brokenVariants() {
  const std::span<const std::int32_t> tokens = tokens_;
  const auto lose = [&](const char* what, auto&& spoil) {
    ModelRun run;
    SequenceState state = model_->newState();
    feed(*model_, state, tokens.first(20), kSteps, nullptr, run);
    HostState host = state.download();
    for (LayerState& layer : host.layers) spoil(layer);
    SequenceState restored = model_->restoreState(host);
    feed(*model_, restored, tokens.subspan(20), kSteps, nullptr, run);
    results_.push_back(
        mustReject(name_ + " · rejects " + what, compareArrays(what, run.logits, whole_.logits, logits_)));
  };
  if (model_->config().hasKind(BlockKind::recurrent)) {
    lose("a forgotten convolution tail",
         [](LayerState& layer) { std::fill(layer.tail.begin(), layer.tail.end(), 0.0F); });
    lose("a forgotten recurrent state",
         [](LayerState& layer) { std::fill(layer.h.begin(), layer.h.end(), 0.0F); });
  }
  if (model_->config().hasKind(BlockKind::localAttention) ||
      model_->config().hasKind(BlockKind::globalAttention)) {
    // Also why a Griffin cannot be rewound from h and convolution tails alone.
    lose("a forgotten window", [](LayerState& layer) {
      std::fill(layer.keys.begin(), layer.keys.end(), 0.0F);
      std::fill(layer.values.begin(), layer.values.end(), 0.0F);
    });
    lose("keys out of order", [](LayerState& layer) { std::reverse(layer.keys.begin(), layer.keys.end()); });
  }
}

std::vector<CheckResult> InvariantSuite::run() {
  whole_ = runModel(*model_, tokens_, kSteps);
  const bool finite =
      std::all_of(whole_.logits.begin(), whole_.logits.end(), [](float v) { return std::isfinite(v); });
  results_.push_back(statement(name_ + " · logits are numbers", finite));
  prefillEqualsSteps();
  anyChunking();
  saveRestoreContinue();
  rewound();
  interleaved();
  shortPrompts();
  positionZeroForgets();
  brokenVariants();
  return std::move(results_);
}

}  // namespace

std::vector<CheckResult> checkInvariants(BackendKind backend, int threads) {
  std::vector<ModelConfig> configs;
  for (const char* pattern : {"R", "A", "G", "RG"}) configs.push_back(tinyConfig(pattern, 2));
  configs.push_back(tinyConfig("RRA", 4));
  configs.push_back(tinyConfig("R", 2, RgLru::complex));
  configs.push_back(tinyConfig("RRA", 4, RgLru::complex));
  std::vector<CheckResult> results;
  for (const ModelConfig& config : configs) {
    std::vector<CheckResult> more = InvariantSuite(config, backend, threads).run();
    std::move(more.begin(), more.end(), std::back_inserter(results));
  }
  return results;
}

}  // namespace eyrie::engine::verify
