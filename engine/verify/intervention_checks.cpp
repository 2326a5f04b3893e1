#include "engine/verify/intervention_checks.h"

#include <fmt/core.h>

#include <cmath>
#include <functional>
#include <limits>

#include "engine/intervention_plan.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"

namespace eyrie::engine::verify {
namespace {

constexpr std::int64_t kTokens = 40;  // more than five windows
constexpr const char* kEverything =
    "layer 0 recurrence_gate[0:7] = 0.1; input_gate[3:] *= 0.5; layer 1 decay[4:9] = 0.9 @5-30;"
    "layer 0 decay[9:12] *= 0.8; multiplier[2] = 0.3; state *= 0.98; layer 3 state[1:3] = 0.1 @12;"
    "conv[0:4] *= 2 @3-9; layer 2 head 1-2 off; recurrence *= 0.9; attention[0:10] *= 0.5;"
    "layer 1 mlp off @8-; layer 3 block *= 0.7; window = 4 @6-25";

using Edit = std::function<void(const std::string& name, std::vector<float>& values)>;

// Columns first..end-1 of every row become `value` times themselves.
void scaleColumns(std::vector<float>& values, std::int64_t width, std::int64_t first, std::int64_t end,
                  float value) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto column = static_cast<std::int64_t>(i) % width;
    if (column >= first && column < end) values[i] *= value;
  }
}

bool endsWith(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

// All values of the tensors whose names end so become 0.
Edit zeroed(std::vector<std::string> endings) {
  return [endings = std::move(endings)](const std::string& name, std::vector<float>& values) {
    for (const std::string& end : endings) {
      if (endsWith(name, end)) std::fill(values.begin(), values.end(), 0.0F);
    }
  };
}

class InterventionSuite {
 public:
  InterventionSuite(BackendKind backend, int threads);
  std::vector<CheckResult> run();

 private:
  std::shared_ptr<Model> load(std::shared_ptr<const Checkpoint> checkpoint) const;
  ModelRun runUnder(Model& model, const std::string& spec, const Feeding& feeding,
                    const FrameLayout* layout = nullptr) const;
  void add(const std::string& name, const ModelRun& found, const ModelRun& expected);
  void hold(const std::string& name, const std::vector<float>& found, const std::vector<float>& expected);
  // `spec` does what `edit` of the weights does.
  void sameAs(const std::string& spec, const Edit& edit);

  void nothing();
  void blocksAndHeads();
  void convolutionAndGates();
  void decayOfAParameter();
  void windows(WindowCounting counting);
  void positions();
  void recurrence();
  void scaledRecurrence();
  void anyChunking();
  void brokenVariants();

  LoadOptions options_;
  ModelConfig config_;
  Tolerance logits_;
  Tolerance state_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::shared_ptr<Model> model_;
  std::string name_;
  std::vector<std::int32_t> tokens_;
  ModelRun plain_;  // in single steps
  std::vector<CheckResult> results_;
};

InterventionSuite::InterventionSuite(BackendKind backend, int threads) : config_(tinyConfig("RRA", 4)) {
  const bool exact = backend == BackendKind::reference;
  logits_ = exact ? kSameBits : kSameLogits;
  state_ = exact ? kSameBits : kSameState;
  options_.backend = backend;
  options_.threads = threads;
  checkpoint_ = randomCheckpoint(config_, 7);
  model_ = load(checkpoint_);
  name_ = "interventions · " + model_->backendName();
  tokens_ = TestRandom(3).tokens(kTokens, config_.V);
  plain_ = runModel(*model_, tokens_, kSteps);
}

std::shared_ptr<Model> InterventionSuite::load(std::shared_ptr<const Checkpoint> checkpoint) const {
  return Model::load(std::move(checkpoint), options_);
}

ModelRun InterventionSuite::runUnder(Model& model, const std::string& spec, const Feeding& feeding,
                                     const FrameLayout* layout) const {
  ModelRun run;
  SequenceState state = model.newState();
  state.intervene(planInterventions(parseInterventions(spec), model.config()));
  feed(model, state, tokens_, feeding, layout, run);
  return run;
}

void InterventionSuite::add(const std::string& name, const ModelRun& found, const ModelRun& expected) {
  for (CheckResult& result : compareRuns(name_ + " · " + name, found, expected, logits_, state_)) {
    results_.push_back(std::move(result));
  }
}

void InterventionSuite::hold(const std::string& name, const std::vector<float>& found,
                             const std::vector<float>& expected) {
  results_.push_back(compareArrays(name_ + " · " + name, found, expected, state_));
}

void InterventionSuite::sameAs(const std::string& spec, const Edit& edit) {
  const auto edited = load(editedCheckpoint(checkpoint_, edit));
  for (const Feeding& feeding : {kSteps, kPrefill}) {
    add(fmt::format("{}, {}", spec, feeding.name), runUnder(*model_, spec, feeding),
        runModel(*edited, tokens_, feeding));
  }
}

void InterventionSuite::nothing() {
  // The same bits on every backend, where there are no rules and where none acts.
  for (const char* spec : {"", "state off @1000-; block off @40-"}) {
    for (const Feeding& feeding : {kSteps, kPrefill, kOddChunks}) {
      const ModelRun expected = runModel(*model_, tokens_, feeding);
      for (CheckResult& result :
           compareRuns(fmt::format("{} · no rule acts, '{}', {}", name_, spec, feeding.name),
                       runUnder(*model_, spec, feeding), expected, kSameBits, kSameBits)) {
        results_.push_back(std::move(result));
      }
    }
  }
}

void InterventionSuite::blocksAndHeads() {
  const std::int64_t Dh = config_.Dh;
  const std::int64_t queries = config_.H * Dh;
  sameAs("mlp off", zeroed({"down_proj.weight", "down_proj.bias"}));
  sameAs("layer 1 mlp off",
         zeroed({"layers.1.mlp_block.down_proj.weight", "layers.1.mlp_block.down_proj.bias"}));
  sameAs("attention off", zeroed({"o_proj.weight", "o_proj.bias"}));
  sameAs("recurrence off", zeroed({"linear_out.weight", "linear_out.bias"}));
  sameAs("layer 2-3 block off",
         zeroed({"2.temporal_block.o_proj.weight", "2.temporal_block.o_proj.bias",
                 "3.temporal_block.linear_out.weight", "3.temporal_block.linear_out.bias",
                 "2.mlp_block.down_proj.weight", "2.mlp_block.down_proj.bias", "3.mlp_block.down_proj.weight",
                 "3.mlp_block.down_proj.bias"}));
  sameAs("layer 2 head 1 off; head 2-3[0:2] *= 2", [&](const std::string& name, std::vector<float>& values) {
    if (!endsWith(name, "o_proj.weight")) return;
    scaleColumns(values, queries, Dh, 2 * Dh, 0);
    scaleColumns(values, queries, 2 * Dh, 2 * Dh + 2, 2);
    scaleColumns(values, queries, 3 * Dh, 3 * Dh + 2, 2);
  });
  sameAs("layer 1 mlp[3:5] *= 0.5", [&](const std::string& name, std::vector<float>& values) {
    const bool weight = endsWith(name, "layers.1.mlp_block.down_proj.weight");
    if (!weight && !endsWith(name, "layers.1.mlp_block.down_proj.bias")) return;
    const auto row = values.begin();
    const std::int64_t width = weight ? config_.E : 1;
    for (auto at = row + 3 * width; at != row + 5 * width; ++at) *at *= 0.5F;
  });
}

// A gate without weights and with bias 0 is one half everywhere.
void InterventionSuite::convolutionAndGates() {
  sameAs("conv off", zeroed({"conv_1d.weight", "conv_1d.bias"}));
  sameAs("layer 0 conv[3] = 0.25", [&](const std::string& name, std::vector<float>& values) {
    const auto at = values.begin();
    if (endsWith(name, "0.temporal_block.conv_1d.weight")) {
      std::fill(at + 3 * config_.K, at + 4 * config_.K, 0.0F);
    }
    if (endsWith(name, "0.temporal_block.conv_1d.bias")) values[3] = 0.25F;
  });
  const std::int64_t block = config_.R / config_.gateBlocks;
  for (const char* gate : {"recurrence_gate", "input_gate"}) {
    const std::string tensor = gate[0] == 'r' ? "rg_lru.recurrent_gate_" : "rg_lru.input_gate_";
    sameAs(fmt::format("{} = 0.5", gate), zeroed({tensor + "weight", tensor + "bias"}));
    const std::string spec = fmt::format("layer 1 {}[{}:{}] = 0.5", gate, 2 * block, 4 * block);
    sameAs(spec, [&](const std::string& name, std::vector<float>& values) {
      if (name.find("layers.1.") == std::string::npos) return;
      const std::int64_t width = endsWith(name, tensor + "weight") ? block * block
                                 : endsWith(name, tensor + "bias") ? block
                                                                   : 0;
      std::fill(values.begin() + 2 * width, values.begin() + 4 * width, 0.0F);
    });
  }
}

// r = 1 for certain, and p such that a = 1/2 then.
void InterventionSuite::decayOfAParameter() {
  const auto halving = static_cast<float>(std::log(std::expm1(std::log(2.0) / 8)));
  const auto edited =
      load(editedCheckpoint(checkpoint_, [&](const std::string& name, std::vector<float>& values) {
        if (endsWith(name, "rg_lru.recurrent_param")) std::fill(values.begin(), values.end(), halving);
        if (endsWith(name, "recurrent_gate_weight")) std::fill(values.begin(), values.end(), 0.0F);
        if (endsWith(name, "recurrent_gate_bias")) std::fill(values.begin(), values.end(), 100.0F);
      }));
  // Not the same bits: ln 2 goes through p.
  for (CheckResult& result : compareRuns(name_ + " · decay = 0.5", runUnder(*model_, "decay = 0.5", kPrefill),
                                         runModel(*edited, tokens_, kPrefill), kSameLogits, kSameState)) {
    results_.push_back(std::move(result));
  }
}

// The states differ in how many keys they keep, so the logits tell.
void InterventionSuite::windows(WindowCounting counting) {
  ModelConfig config = config_;
  config.windowCounting = counting;
  const auto own = load(bentCheckpoint(checkpoint_, config));
  for (const std::int64_t window : {1, 3, 7}) {
    config.W = window;
    const auto smaller = load(bentCheckpoint(checkpoint_, config));
    for (const Feeding& feeding : {kSteps, kPrefill, kOddChunks}) {
      const ModelRun found = runUnder(*own, fmt::format("window = {}", window), feeding);
      results_.push_back(
          compareArrays(fmt::format("{} · window = {}, counted as {}, {}", name_, window,
                                    counting == WindowCounting::dm ? "dm" : "hf", feeding.name),
                        found.logits, runModel(*smaller, tokens_, feeding).logits, logits_));
      if (window == 7) continue;
      results_.push_back(
          mustReject(fmt::format("{} · window = {} is not {}", name_, window, window + 1),
                     compareArrays("", runUnder(*own, fmt::format("window = {}", window + 1), feeding).logits,
                                   found.logits, kSameLogits)));
    }
  }
}

// A rule on positions 10 to 19 is one switched on and off by hand.
void InterventionSuite::positions() {
  const char* rule = "layer 0 state *= 0.5; layer 2 attention off";
  const auto plan = planInterventions(parseInterventions(rule), config_);
  ModelRun expected;
  SequenceState state = model_->newState();
  const std::span<const std::int32_t> tokens = tokens_;
  feed(*model_, state, tokens.first(10), kSteps, nullptr, expected);
  state.intervene(plan);
  feed(*model_, state, tokens.subspan(10, 10), kSteps, nullptr, expected);
  state.intervene(nullptr);
  feed(*model_, state, tokens.subspan(20), kSteps, nullptr, expected);
  const char* ranged = "layer 0 state *= 0.5 @10-19; layer 2 attention off @10-19";
  for (const Feeding& feeding : {kSteps, kPrefill, kOddChunks}) {
    add(fmt::format("{}, {}", ranged, feeding.name), runUnder(*model_, ranged, feeding), expected);
  }
}

// Layer 0 reads the tokens themselves, so its gates and inputs are the plain run's.
void InterventionSuite::recurrence() {
  const FrameLayout layout(config_, {TraceLevel::full, {}, 9});
  const auto traced = [&](const std::string& spec) {
    return runUnder(*model_, spec, kPrefill, &layout).traces;
  };
  const auto R = static_cast<std::size_t>(config_.R);
  const std::vector<float> zeros(R * kTokens, 0.0F);
  const auto plain = traced("");
  auto found = traced("layer 0 input_gate off");
  hold("input_gate off: nothing is written", found.at("layers.0.write"), zeros);
  hold("input_gate off: the state is what is kept", found.at("layers.0.state"), found.at("layers.0.keep"));
  found = traced("layer 0 decay = 1");
  std::vector<float> frozen;
  for (std::size_t t = 0; t < kTokens; ++t) {
    const auto first = plain.at("layers.0.state").begin();
    frozen.insert(frozen.end(), first, first + static_cast<std::ptrdiff_t>(R));
  }
  hold("decay = 1: the first token's write stays for good", found.at("layers.0.state"), frozen);
  found = traced("layer 0 decay off");
  hold("decay off: nothing is kept", found.at("layers.0.keep"), zeros);
  hold("decay off: the state is what was written", found.at("layers.0.state"), found.at("layers.0.write"));
  add("multiplier off = input_gate off", runUnder(*model_, "multiplier off", kPrefill),
      runUnder(*model_, "input_gate off", kPrefill));
  found = traced("layer 0 multiplier = 1; recurrence_gate = 0.25");
  hold("recurrence_gate = 0.25", found.at("layers.0.recurrence_gate"),
       std::vector<float>(R * kTokens, 0.25F));
}

void InterventionSuite::scaledRecurrence() {
  const FrameLayout layout(config_, {TraceLevel::full, {}, 9});
  const auto plain = runUnder(*model_, "", kPrefill, &layout).traces;
  const auto scaled = [](const std::vector<float>& values, float factor) {
    std::vector<float> out = values;
    for (float& value : out) value *= factor;
    return out;
  };
  const auto R = static_cast<std::size_t>(config_.R);
  auto found = runUnder(*model_, "layer 0 state *= 0.5", kPrefill, &layout).traces;
  const std::vector<float>& state = found.at("layers.0.state");
  std::vector<float> sum;
  std::vector<float> kept(R, 0.0F);  // a h of the scaled state before
  for (std::size_t i = 0; i < state.size(); ++i) {
    sum.push_back(found.at("layers.0.keep")[i] + found.at("layers.0.write")[i]);
    if (i + R < state.size()) kept.push_back(found.at("layers.0.decay")[i + R] * state[i]);
  }
  hold("state *= 0.5: after the update", state, scaled(sum, 0.5F));
  hold("state *= 0.5: before the next token", found.at("layers.0.keep"), kept);
  hold("state *= 0.5: the writes are as ever", found.at("layers.0.write"), plain.at("layers.0.write"));
  found = runUnder(*model_, "layer 0 decay *= 0.75", kPrefill, &layout).traces;
  results_.push_back(compareArrays(name_ + " · decay *= 0.75", found.at("layers.0.decay"),
                                   scaled(plain.at("layers.0.decay"), 0.75F), kSameState));
  found = runUnder(*model_, "layer 0 input_gate *= 0.5", kPrefill, &layout).traces;
  hold("input_gate *= 0.5", found.at("layers.0.write"), scaled(plain.at("layers.0.write"), 0.5F));
}

void InterventionSuite::anyChunking() {
  const ModelRun steps = runUnder(*model_, kEverything, kSteps);
  add("prefill = steps", runUnder(*model_, kEverything, kPrefill), steps);
  for (const std::int64_t chunk : {1, 3, 7, 39}) {
    add(fmt::format("chunks of {}", chunk), runUnder(*model_, kEverything, {"chunks", chunk}), steps);
  }
  ModelRun one;
  ModelRun other;
  SequenceState changed = model_->newState();
  SequenceState untouched = model_->newState();
  changed.intervene(planInterventions(parseInterventions(kEverything), config_));
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    feed(*model_, changed, std::span(tokens_).subspan(i, 1), kSteps, nullptr, one);
    feed(*model_, untouched, std::span(tokens_).subspan(i, 1), kSteps, nullptr, other);
    changed = changed.clone();
  }
  add("beside a sequence without rules", one, steps);
  add("a sequence without rules beside one with them", other, plain_);
}

// Each rule does something: without it the outcome is another.
void InterventionSuite::brokenVariants() {
  const Interventions rules = parseInterventions(kEverything);
  const ModelRun whole = runUnder(*model_, kEverything, kSteps);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    Interventions fewer = rules;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    const ModelRun run = runUnder(*model_, printInterventions(fewer), kSteps);
    results_.push_back(mustReject(fmt::format("{} · notices '{}'", name_, printIntervention(rules[i])),
                                  compareArrays("", run.logits, whole.logits, kSameLogits)));
  }
}

std::vector<CheckResult> InterventionSuite::run() {
  nothing();
  blocksAndHeads();
  convolutionAndGates();
  decayOfAParameter();
  windows(WindowCounting::dm);
  windows(WindowCounting::hf);
  positions();
  recurrence();
  scaledRecurrence();
  anyChunking();
  brokenVariants();
  return std::move(results_);
}

}  // namespace

std::vector<CheckResult> checkInterventions(BackendKind backend, int threads) {
  return InterventionSuite(backend, threads).run();
}

}  // namespace eyrie::engine::verify
