// Every target with every action, end to end: what a rule does to a small model is what other weights do, or,
// of the recurrence's own numbers, what a few lines in double say.
#include <QtTest>
#include <cmath>
#include <functional>
#include <set>

#include "engine/error.h"
#include "engine/intervention_plan.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;

namespace {

constexpr std::int64_t kTokens = 24;  // more than three windows

using Values = std::vector<float>;
using Edit = std::function<void(const std::string& name, Values& values)>;

struct WeightsRow {
  const char* rule;
  Edit edit;
};

// `value` times everything in the tensors whose names end so.
Edit scaled(std::vector<std::string> endings, float value) {
  return [=](const std::string& name, Values& values) {
    for (const std::string& end : endings) {
      if (!name.ends_with(end)) continue;
      for (float& v : values) v *= value;
    }
  };
}

// A layer that gives `value` whatever it is given.
Edit constant(std::vector<std::string> layers, float value) {
  return [=](const std::string& name, Values& values) {
    for (const std::string& layer : layers) {
      if (name.ends_with(layer + "weight")) std::fill(values.begin(), values.end(), 0.0F);
      if (name.ends_with(layer + "bias")) std::fill(values.begin(), values.end(), value);
    }
  };
}

// p whose softplus is `factor` times what it was: of log_a = -8 r softplus(p), as if r were.
Edit slowed(double factor) {
  return [=](const std::string& name, Values& values) {
    if (!name.ends_with("rg_lru.recurrent_param")) return;
    for (float& p : values) {
      const double rate = factor * std::log1p(std::exp(double{p}));
      p = static_cast<float>(std::log(std::expm1(rate)));
    }
  };
}

// Heads 1 and 2 of o_proj: its columns times `scale`, and what they give for `offset` everywhere to its bias.
Edit headsMapped(const ModelConfig& config, std::shared_ptr<const Checkpoint> checkpoint, float scale,
                 float offset) {
  const std::int64_t width = config.H * config.Dh;
  const auto ofHeads = [=](std::size_t column) {
    const auto head = static_cast<std::int64_t>(column) % width / config.Dh;
    return head == 1 || head == 2;
  };
  return [=](const std::string& name, Values& values) {
    if (name.ends_with("o_proj.weight")) {
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= ofHeads(i) ? scale : 1;
    }
    if (!name.ends_with("o_proj.bias")) return;
    const std::string weight = name.substr(0, name.size() - 4) + "weight";
    const auto* columns = static_cast<const float*>(checkpoint->tensor(weight).data);
    for (std::size_t i = 0; i < values.size() * static_cast<std::size_t>(width); ++i)
      values[i / static_cast<std::size_t>(width)] += ofHeads(i) ? offset * columns[i] : 0;
  };
}

std::vector<WeightsRow> weightsRows(const ModelConfig& config,
                                    const std::shared_ptr<const Checkpoint>& checkpoint) {
  const std::vector<std::string> whole{"linear_out.", "o_proj.", "down_proj."};
  const auto both = [](const std::vector<std::string>& layers) {
    std::vector<std::string> endings;
    for (const std::string& layer : layers) {
      endings.push_back(layer + "weight");
      endings.push_back(layer + "bias");
    }
    return endings;
  };
  return {
      // A gate without weights and with bias -1 is sigmoid(-1) everywhere.
      {"recurrence_gate = 0.26894142", constant({"rg_lru.recurrent_gate_"}, -1)},
      {"recurrence_gate *= 0.6", slowed(0.6)},
      {"input_gate = 0.26894142", constant({"rg_lru.input_gate_"}, -1)},
      // As much less written is as much less of the state, of which linear_out makes the block's share.
      {"input_gate *= 0.6", scaled({"linear_out.weight"}, 0.6F)},
      {"multiplier *= 0.6", scaled({"linear_out.weight"}, 0.6F)},
      {"conv = 0.25", constant({"conv_1d."}, 0.25F)},
      {"conv *= 1.5", scaled(both({"conv_1d."}), 1.5F)},
      {"recurrence = 0.3", constant({"linear_out."}, 0.3F)},
      {"recurrence *= 0.7", scaled(both({"linear_out."}), 0.7F)},
      {"attention = -0.3", constant({"o_proj."}, -0.3F)},
      {"attention *= 0.7", scaled(both({"o_proj."}), 0.7F)},
      {"head 1-2 = 0.3", headsMapped(config, checkpoint, 0, 0.3F)},
      {"head 1-2 *= 1.4", headsMapped(config, checkpoint, 1.4F, 0)},
      {"mlp = 0.3", constant({"down_proj."}, 0.3F)},
      {"mlp *= 0.7", scaled(both({"down_proj."}), 0.7F)},
      {"block = 0.3", constant(whole, 0.3F)},
      {"block *= 0.7", scaled(both(whole), 0.7F)},
  };
}

// What a rule makes of the recurrence's own numbers.
struct ScanRow {
  using Map = std::function<double(double)>;
  const char* rule;
  Map decay, multiplier, state;
};

double same(double value) {
  return value;
}

ScanRow::Map set(double to) {
  return [to](double) { return to; };
}

ScanRow::Map times(double factor) {
  return [factor](double value) { return factor * value; };
}

const ScanRow kScanRows[] = {
    {"decay = 0.9", set(0.9), same, same},      {"decay *= 0.8", times(0.8), same, same},
    {"multiplier = 0.3", same, set(0.3), same}, {"multiplier *= 0.6", same, times(0.6), same},
    {"state = 0.2", same, same, set(0.2)},      {"state *= 0.5", same, same, times(0.5)},
};

// States (T, R) of the first layer, whose inputs no rule there changes, from what it showed without a rule.
Values statesUnder(const ScanRow& row, const ModelRun& plain, std::int64_t R) {
  const Values& logDecay = plain.traces.at("layers.0.log_decay");
  const Values& write = plain.traces.at("layers.0.write");
  std::vector<double> h(static_cast<std::size_t>(R));
  Values states;
  for (std::size_t i = 0; i < write.size(); ++i) {
    const bool first = i < h.size();
    const double input = double{write[i]} / (first ? 1 : std::sqrt(-std::expm1(2 * double{logDecay[i]})));
    const double decay = row.decay(std::exp(double{logDecay[i]}));
    const double multiplier = row.multiplier(first ? 1 : std::sqrt(1 - decay * decay));
    double& state = h[i % h.size()];
    state = row.state((first ? 0 : decay * state) + multiplier * input);
    states.push_back(static_cast<float>(state));
  }
  return states;
}

struct Subject {
  ModelConfig config = tinyConfig("RRA", 3);
  std::shared_ptr<const Checkpoint> checkpoint = randomCheckpoint(config, 7);
  LoadOptions options;
  std::shared_ptr<Model> model;
  std::vector<std::int32_t> tokens = TestRandom(3).tokens(kTokens, config.V);

  explicit Subject(BackendKind backend) {
    options.backend = backend;
    model = Model::load(checkpoint, options);
  }
  ModelRun under(const std::string& rule, const Feeding& feeding) const {
    const FrameLayout layout(config, {TraceLevel::full, {}, kTokens});
    SequenceState state = model->newState();
    state.intervene(planInterventions(parseInterventions(rule), config));
    ModelRun run;
    feed(*model, state, tokens, feeding, &layout, run);
    return run;
  }
};

constexpr BackendKind kBackends[] = {BackendKind::reference, BackendKind::cpu};
constexpr Feeding kFeedings[] = {kSteps, kPrefill};

}  // namespace

class InterventionEffectsTest : public QObject {
  Q_OBJECT

 private slots:
  void everyTargetIsTriedWithEveryAction();
  void rulesAreWhatOtherWeightsAre();
  void rulesOfTheRecurrenceAreWhatDoubleSays();
  void complexStatesHaveNoneOfTheRealOnesTargets_data();
  void complexStatesHaveNoneOfTheRealOnesTargets();
};

// A window's rule stands against the golden of that window: verify_test.cpp.
void InterventionEffectsTest::everyTargetIsTriedWithEveryAction() {
  std::set<std::pair<InterventionTarget, InterventionAction>> tried;
  const auto add = [&](const char* text) {
    const Intervention rule = parseInterventions(text).front();
    tried.emplace(rule.target, rule.action);
  };
  const Subject subject(BackendKind::reference);
  for (const WeightsRow& row : weightsRows(subject.config, subject.checkpoint)) add(row.rule);
  for (const ScanRow& row : kScanRows) add(row.rule);
  constexpr auto kTargets = static_cast<std::size_t>(InterventionTarget::window);  // the last
  QCOMPARE(tried.size(), 2 * kTargets);
}

void InterventionEffectsTest::rulesAreWhatOtherWeightsAre() {
  for (const BackendKind backend : kBackends) {
    const Subject subject(backend);
    for (const WeightsRow& row : weightsRows(subject.config, subject.checkpoint)) {
      const auto edited = Model::load(editedCheckpoint(subject.checkpoint, row.edit), subject.options);
      for (const Feeding& feeding : kFeedings) {
        const Values expected = runModel(*edited, subject.tokens, feeding).logits;
        const CheckResult result =
            compareArrays(row.rule, subject.under(row.rule, feeding).logits, expected, kSameLogits);
        QVERIFY2(result.passed, describeCheck(result).c_str());
        QVERIFY2(!compareArrays("", subject.under("", feeding).logits, expected, kSameLogits).passed,
                 row.rule);
      }
    }
  }
}

void InterventionEffectsTest::rulesOfTheRecurrenceAreWhatDoubleSays() {
  for (const BackendKind backend : kBackends) {
    const Subject subject(backend);
    for (const Feeding& feeding : kFeedings) {
      const ModelRun plain = subject.under("", feeding);
      for (const ScanRow& row : kScanRows) {
        const Values expected = statesUnder(row, plain, subject.config.R);
        const ModelRun run = subject.under(std::string("layer 0 ") + row.rule, feeding);
        const CheckResult result =
            compareArrays(row.rule, run.traces.at("layers.0.state"), expected, kSameState);
        QVERIFY2(result.passed, describeCheck(result).c_str());
        QVERIFY2(!compareArrays("", plain.traces.at("layers.0.state"), expected, kSameState).passed,
                 row.rule);
      }
    }
  }
}

void InterventionEffectsTest::complexStatesHaveNoneOfTheRealOnesTargets_data() {
  QTest::addColumn<QString>("rule");
  QTest::addColumn<bool>("refused");
  for (const char* rule :
       {"recurrence_gate = 0.5", "input_gate off", "decay *= 0.5", "multiplier = 1", "layer 0 state *= 0.5"})
    QTest::newRow(rule) << QString(rule) << true;
  for (const char* rule : {"conv *= 0.5", "recurrence off", "window = 3", "block = 1"})
    QTest::newRow(rule) << QString(rule) << false;
}

void InterventionEffectsTest::complexStatesHaveNoneOfTheRealOnesTargets() {
  QFETCH(QString, rule);
  QFETCH(bool, refused);
  const Interventions rules = parseInterventions(rule.toStdString());
  std::string message;
  try {
    const InterventionPlan plan(rules, tinyConfig("RRA", 3, RgLru::complex));
  } catch (const Error& error) {
    QCOMPARE(error.code(), ErrorCode::badArgument);
    message = error.what();
  }
  const std::string reason = "acts in the real RG-LRU alone, and this model's states are complex";
  QVERIFY2(refused ? message.find(reason) != std::string::npos : message.empty(), message.c_str());
}

QTEST_GUILESS_MAIN(InterventionEffectsTest)
#include "intervention_effects_test.moc"
