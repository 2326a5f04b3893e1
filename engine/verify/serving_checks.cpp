#include "engine/verify/serving_checks.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/cpu_backend.h"
#include "engine/cpu_ops.h"
#include "engine/cuda/make_cuda_backend.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"
#include "kernels/sample.h"

namespace eyrie::engine::verify {
namespace {

using Tokens = std::vector<std::int32_t>;
using Values = std::vector<float>;

LoadOptions optionsOf(BackendKind backend, int threads, std::optional<kernels::DType> weights = {}) {
  LoadOptions options;
  options.backend = backend;
  options.threads = threads;
  options.weights = weights;
  return options;
}

class ServingSuite {
 public:
  ServingSuite(BackendKind backend, int threads)
      : backend_(backend),
        threads_(threads),
        model_(Model::load(randomCheckpoint(tinyConfig("RRA", 4), 7), optionsOf(backend, threads))),
        onCard_(model_->backendName().starts_with("cuda")),
        name_(model_->backendName()),
        logits_(onCard_ ? kSameLogits : kSameBits),
        state_(onCard_ ? kSameState : kSameBits) {}

  std::vector<CheckResult> run() {
    predictions();
    for (const std::size_t sequences : {2, 3, 5, 7, 11}) steps(sequences);
    chunks();
    for (const kernels::DType dtype : {kernels::DType::int8, kernels::DType::int4}) quantised(dtype);
    return std::move(results_);
  }

 private:
  void predictions();
  void ranking(const std::string& name, const RankedLogits& ranked, const Values& all);
  void draw(const std::string& name, const RankedLogits& ranked);
  void steps(std::size_t sequences);
  void chunks();
  void quantised(kernels::DType dtype);
  std::unique_ptr<Backend> backendFor(const std::shared_ptr<const Checkpoint>& checkpoint) const;
  void add(CheckResult result) { results_.push_back(std::move(result)); }
  std::string named(const std::string& what) const { return name_ + " · " + what; }

  BackendKind backend_;
  int threads_;
  std::shared_ptr<Model> model_;
  bool onCard_;
  std::string name_;
  Tolerance logits_;  // of what a batch says and what each of its sequences says alone
  Tolerance state_;
  std::vector<CheckResult> results_;
};

// ---- predictions ----

// So many steps that a card has captured its graph and launches it again.
void ServingSuite::predictions() {
  ModelConfig config = tinyConfig("RRA", 3);
  config.V = 5000;  // more than is ranked
  const auto model = Model::load(randomCheckpoint(config, 5), optionsOf(backend_, threads_));
  SequenceState predicted = model->newState();
  SequenceState stepped = model->newState();
  Values before;
  int step = 0;
  const kernels::DrawRule rules[] = {{0.0F, 0, 1.0F, 0.0F, 0.5},
                                     {0.5F, 0, 0.3F, 0.0F, 0.9},
                                     {1.0F, 40, 1.0F, 0.0F, 0.2},
                                     {1.0F, 0, 1.0F, 0.3F, 0.6},
                                     {1.0F, 0, 1.0F, 0.0F, 0.6}};
  for (const kernels::DrawRule& rule : rules) {
    const std::string name = named(fmt::format("prediction {}", ++step));
    const std::int32_t token = 7 * step;
    const Prediction prediction = model->predict(predicted, token, rule);
    RankedLogits ranked = prediction.ranked.value_or(RankedLogits{});
    const Tokens tokens(ranked.tokens.begin(), ranked.tokens.end());
    const Values largest(ranked.logits.begin(), ranked.logits.end());
    ranked.tokens = tokens;  // what the next call leaves of them
    ranked.logits = largest;
    const auto later = model->predictedLogits();
    const Values all(later.begin(), later.end());
    if (prediction.ranked)
      ranking(name, ranked, all);
    else
      add(compareArrays(name + " · its logits", prediction.logits, all, kSameBits));
    add(compareArrays(name + " · those of a step", all, model->step(stepped, token), logits_));
    if (!before.empty())
      add(mustReject(name + " · rejects the logits before", compareArrays("", all, before, logits_)));
    before = all;
  }
}

void ServingSuite::ranking(const std::string& name, const RankedLogits& ranked, const Values& all) {
  const std::int64_t count = std::ssize(ranked.tokens);
  Tokens tokens(ranked.tokens.size());
  Values largest(ranked.tokens.size());
  kernels::reference::topK({all.data(), std::ssize(all), count, tokens.data(), largest.data()});
  add(statement(name + " · tokens of the largest logits",
                count > 0 && std::equal(tokens.begin(), tokens.end(), ranked.tokens.begin())));
  add(compareArrays(name + " · the largest logits", ranked.logits, largest, kSameBits));
  const double scale = ranked.rule.temperature > 0 ? double{ranked.rule.temperature} : 1.0;
  double mass = 0;
  for (const float logit : all) mass += std::exp((double{logit} - double{largest.at(0)}) / scale);
  const float found = std::exp(ranked.scaled.logSumExp - ranked.scaled.max);
  const auto expected = static_cast<float>(mass);
  add(compareArrays(name + " · weight of all", std::span(&found, 1), std::span(&expected, 1), kOpSum));
  draw(name, ranked);
}

// The last rule lets more pass than are ranked.
void ServingSuite::draw(const std::string& name, const RankedLogits& ranked) {
  const auto drawnWith = [&](const kernels::DrawRule& rule) {
    kernels::Drawn drawn;
    kernels::reference::draw({ranked.logits.data(), ranked.tokens.data(), &ranked.stats, &ranked.scaled,
                              &rule, 1, ranked.V, std::ssize(ranked.tokens), &drawn});
    return drawn;
  };
  kernels::DrawRule other = ranked.rule;
  other.uniform = 0.95 - other.uniform;
  add(statement(name + " · token drawn", ranked.drawn == drawnWith(ranked.rule)));
  if (ranked.drawn.kept > 1)
    add(statement(name + " · rejects another random number", ranked.drawn != drawnWith(other)));
}

// ---- several sequences ----

// More than a card's matrix-vector kernels take at once, and numbers that no tile of theirs divides.
void ServingSuite::steps(std::size_t sequences) {
  constexpr std::int64_t kTokens = 4;
  TestRandom random(6);
  std::vector<Tokens> prompts;
  std::vector<Tokens> texts;
  std::vector<SequenceState> states;
  for (std::size_t n = 0; n < sequences; ++n) {
    prompts.push_back(random.tokens(static_cast<std::int64_t>(1 + 5 * n), model_->config().V));
    texts.push_back(random.tokens(kTokens, model_->config().V));
    states.push_back(model_->newState());
    model_->prefill(states.back(), prompts.back(), LogitRows::none);
  }
  std::vector<ModelRun> together(sequences);
  for (std::size_t i = 0; i < kTokens; ++i) {
    std::vector<SequenceStep> next;
    for (std::size_t n = 0; n < sequences; ++n) next.push_back({&states[n], texts[n][i], nullptr});
    const std::span<const float> logits = model_->step(next);
    const std::size_t V = logits.size() / sequences;
    for (std::size_t n = 0; n < sequences; ++n) {
      const auto own = logits.subspan(n * V, V);
      together[n].logits.insert(together[n].logits.end(), own.begin(), own.end());
    }
  }
  ModelRun alone;
  for (std::size_t n = 0; n < sequences; ++n) {
    SequenceState state = model_->newState();
    model_->prefill(state, prompts[n], LogitRows::none);
    const ModelRun before = std::exchange(alone, {});
    feed(*model_, state, texts[n], verify::kSteps, nullptr, alone);
    together[n].state = states[n].download();
    const std::string name = named(fmt::format("{} sequences step together, number {}", sequences, n));
    for (CheckResult& result : compareRuns(name, together[n], alone, logits_, state_)) add(std::move(result));
    if (n > 0)
      add(mustReject(name + " · rejects its neighbour",
                     compareArrays("", together[n].logits, before.logits, logits_)));
  }
}

std::unique_ptr<Backend> ServingSuite::backendFor(const std::shared_ptr<const Checkpoint>& checkpoint) const {
  const auto weights = loadWeights(checkpoint);
  if (onCard_) return makeCudaBackend(*weights);
  const CpuOps& ops = backend_ == BackendKind::reference ? referenceOps() : fastOps();
  return std::make_unique<CpuBackend>(weights, ops, threads_, LoadOptions().movedFrom);
}

// Of lengths that differ, some of a single token, from positions that differ.
void ServingSuite::chunks() {
  const std::vector<std::vector<std::int64_t>> lengths{{3, 1, 40, 7, 1}, {1, 30, 2, 6, 1}, {9, 9, 1, 1, 25}};
  for (const ModelConfig& config : {tinyConfig("RRA", 3), tinyConfig("RG", 2, RgLru::complex)}) {
    const auto backend = backendFor(randomCheckpoint(config, 5));
    TestRandom random(6);
    std::vector<std::unique_ptr<BackendState>> together, alone;
    std::vector<std::int64_t> positions(lengths[0].size());
    for (std::size_t n = 0; n < positions.size(); ++n) {
      together.push_back(backend->newState());
      alone.push_back(backend->newState());
    }
    for (std::size_t chunk = 0; chunk < lengths.size(); ++chunk) {
      std::vector<ChunkShare> all;
      Values expected;
      for (std::size_t n = 0; n < positions.size(); ++n) {
        all.push_back({together[n].get(), positions[n], random.tokens(lengths[chunk][n], config.V)});
        const Values own = chunkLogits(*backend, config, {{alone[n].get(), positions[n], all[n].tokens}});
        expected.insert(expected.end(), own.begin(), own.end());
        positions[n] += lengths[chunk][n];
      }
      const std::string name =
          named(fmt::format("{}, chunk {} of five sequences together", patternString(config), chunk));
      add(compareArrays(name, chunkLogits(*backend, config, all), expected, kSameLogits));
    }
  }
}

// ---- quantised weights ----

// On the CPU against the reference, elsewhere against the CPU: single steps, then behind a chunk.
void ServingSuite::quantised(kernels::DType dtype) {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 3), 5);
  const bool onCpu = !onCard_;
  const auto found = Model::load(checkpoint, optionsOf(backend_, threads_, dtype));
  const auto expected =
      Model::load(checkpoint, optionsOf(onCpu ? BackendKind::reference : BackendKind::cpu, threads_, dtype));
  const auto stored = Model::load(checkpoint, optionsOf(BackendKind::reference, threads_));
  const Tokens text = TestRandom(2).tokens(60, found->config().V);
  const Tokens next = TestRandom(3).tokens(6, found->config().V);
  const auto runOf = [&](Model& model, bool afterChunk) {
    ModelRun run;
    SequenceState state = model.newState();
    if (afterChunk) model.prefill(state, text, LogitRows::none);
    feed(model, state, next, verify::kSteps, nullptr, run);
    return run.logits;
  };
  for (const bool afterChunk : {false, true}) {
    const std::string name =
        named(fmt::format("{} {}", kernels::dtypeName(dtype), afterChunk ? "after a chunk" : "in steps"));
    const Tolerance& tolerance = afterChunk ? kQuantisedChunk : kQuantisedSteps;
    const Values logits = runOf(*expected, afterChunk);
    add(compareArrays(name, runOf(*found, afterChunk), logits, tolerance));
    add(mustReject(name + " · rejects weights as stored",
                   compareArrays("", runOf(*stored, afterChunk), logits, tolerance)));
  }
}

}  // namespace

std::vector<CheckResult> checkServing(BackendKind backend, int threads) {
  return ServingSuite(backend, threads).run();
}

}  // namespace eyrie::engine::verify
