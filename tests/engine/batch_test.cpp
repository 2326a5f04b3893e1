// Several sequences in one step: each as if it were alone.
#include <QtTest>

#include "engine/error.h"
#include "engine/intervention_plan.h"
#include "engine/model.h"
#include "engine/verify/test_models.h"
#include "tests/engine/states.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;
using namespace eyrie::engine::test;

namespace {

constexpr std::size_t kSequences = 20;  // more than any tile of tokens, and than BLAS would wait for
constexpr int kRounds = 30;

struct Setup {
  std::string pattern;
  BackendKind backend;
  int threads;
  RgLru rgLru = RgLru::real;
  std::optional<eyrie::kernels::DType> weights = std::nullopt;
};

std::shared_ptr<Model> modelOf(const Setup& setup) {
  LoadOptions options;
  options.backend = setup.backend;
  options.threads = setup.threads;
  options.weights = setup.weights;
  return Model::load(randomCheckpoint(tinyConfig(setup.pattern, 6, setup.rgLru), 7), options);
}

// A sequence that comes in round `first` with a prompt read, and leaves after some steps.
struct Script {
  int first;
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> tokens;
  std::shared_ptr<const InterventionPlan> interventions;
};

std::vector<Script> scripts(const ModelConfig& config, bool mayIntervene) {
  TestRandom random(3);
  const auto plan = planInterventions(parseInterventions("mlp *= 0.5 @9-; layer 1 block off @4-12"), config);
  std::vector<Script> all;
  for (std::size_t i = 0; i < kSequences; ++i) {
    const auto n = static_cast<std::int64_t>(i);
    all.push_back({static_cast<int>(i * 7 % 11), random.tokens(n * 5 % 37, config.V),
                   random.tokens(8 + n % 12, config.V), mayIntervene && i % 3 == 1 ? plan : nullptr});
  }
  return all;
}

struct Outcome {
  std::vector<std::vector<float>> logits;  // a step each
  std::vector<TraceFrame> frames;
  HostState state;
};

SequenceState started(Model& model, const Script& script) {
  SequenceState state = model.newState();
  state.intervene(script.interventions);
  if (!script.prompt.empty()) model.prefill(state, script.prompt, LogitRows::none);
  return state;
}

Outcome alone(Model& model, const Script& script, const FrameLayout& layout) {
  Outcome outcome;
  SequenceState state = started(model, script);
  for (const std::int32_t token : script.tokens) {
    TraceFrame frame;
    const auto logits = model.step(state, token, &frame, &layout);
    outcome.logits.emplace_back(logits.begin(), logits.end());
    outcome.frames.push_back(std::move(frame));
  }
  outcome.state = state.download();
  return outcome;
}

// All of them, each from its round on until its tokens are spent. Every second one is observed.
std::vector<Outcome> together(Model& model, const std::vector<Script>& all, const FrameLayout& layout) {
  std::vector<Outcome> outcomes(all.size());
  std::vector<std::optional<SequenceState>> states(all.size());
  for (int round = 0; round < kRounds; ++round) {
    std::vector<SequenceStep> steps;
    std::vector<std::size_t> who;
    std::vector<TraceFrame> frames(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (round == all[i].first) states[i] = started(model, all[i]);
      const std::size_t done = outcomes[i].logits.size();
      if (!states[i] || done == all[i].tokens.size()) continue;
      steps.push_back({&*states[i], all[i].tokens[done], i % 2 == 0 ? &frames[i] : nullptr});
      who.push_back(i);
    }
    if (steps.empty()) continue;
    const std::span<const float> logits = model.step(steps, &layout);
    const auto V = static_cast<std::size_t>(model.config().V);
    for (std::size_t row = 0; row < who.size(); ++row) {
      const auto own = logits.subspan(row * V, V);
      outcomes[who[row]].logits.emplace_back(own.begin(), own.end());
      outcomes[who[row]].frames.push_back(std::move(frames[who[row]]));
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) outcomes[i].state = states[i]->download();
  return outcomes;
}

}  // namespace

class BatchTest : public QObject {
  Q_OBJECT

 private slots:
  void everySequenceIsAsIfAlone_data();
  void everySequenceIsAsIfAlone();
  void predictionsAreTheLogitsOfAStep();
  void nothingIsFedWhereAStepIsWrong();
};

Q_DECLARE_METATYPE(Setup)

void BatchTest::everySequenceIsAsIfAlone_data() {
  QTest::addColumn<Setup>("setup");
  const auto cpu = BackendKind::cpu;
  QTest::newRow("griffin") << Setup{"RRA", cpu, 1};
  QTest::newRow("griffin, 3 threads") << Setup{"RRA", cpu, 3};
  QTest::newRow("griffin, reference") << Setup{"RRA", BackendKind::reference, 1};
  QTest::newRow("hawk") << Setup{"R", cpu, 2};
  QTest::newRow("global attention") << Setup{"G", cpu, 1};
  QTest::newRow("complex recurrence") << Setup{"RRA", cpu, 2, RgLru::complex};
  QTest::newRow("griffin, bf16") << Setup{"RRA", cpu, 2, RgLru::real, eyrie::kernels::DType::bf16};
  QTest::newRow("griffin, int8") << Setup{"RRA", cpu, 2, RgLru::real, eyrie::kernels::DType::int8};
  QTest::newRow("griffin, int4") << Setup{"RRA", cpu, 1, RgLru::real, eyrie::kernels::DType::int4};
}

void BatchTest::everySequenceIsAsIfAlone() {
  QFETCH(Setup, setup);
  const auto model = modelOf(setup);
  const FrameLayout layout(model->config(), {TraceLevel::full, {}});
  const auto all = scripts(model->config(), setup.rgLru == RgLru::real);
  const std::vector<Outcome> outcomes = together(*model, all, layout);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Outcome expected = alone(*model, all[i], layout);
    const std::string who = "sequence " + std::to_string(i);
    QVERIFY2(sameBits(outcomes[i].state, expected.state), (who + ": state").c_str());
    QCOMPARE(outcomes[i].logits.size(), expected.logits.size());
    for (std::size_t step = 0; step < expected.logits.size(); ++step) {
      const std::string where = who + ", step " + std::to_string(step);
      QVERIFY2(sameBits(outcomes[i].logits[step], expected.logits[step]), (where + ": logits").c_str());
      const TraceFrame& frame = outcomes[i].frames[step];
      if (i % 2 != 0) {
        QVERIFY(frame.values.empty());
        continue;
      }
      QCOMPARE(frame.position, expected.frames[step].position);
      QCOMPARE(frame.token, expected.frames[step].token);
      QVERIFY2(sameBits(frame.values, expected.frames[step].values), (where + ": frame").c_str());
    }
  }
}

// Of each sequence in their order, now and asked for afterwards.
void BatchTest::predictionsAreTheLogitsOfAStep() {
  for (const BackendKind kind : {BackendKind::reference, BackendKind::cpu}) {
    const auto model = modelOf({"RRA", kind, 1});
    std::vector<SequenceState> states;
    for (int i = 0; i < 6; ++i) states.push_back(model->newState());
    const auto V = static_cast<std::size_t>(model->config().V);
    for (std::int32_t round = 0; round < 3; ++round) {
      std::vector<SequenceStep> stepped, predicted;
      for (std::size_t i = 0; i < 3; ++i) {
        const std::int32_t token = 5 * round + static_cast<std::int32_t>(i);
        stepped.push_back({&states[i], token, nullptr});
        predicted.push_back({&states[3 + i], token, nullptr});
      }
      const std::span<const float> logits = model->step(stepped);
      const std::vector<float> expected(logits.begin(), logits.end());
      const std::span<const Prediction> found = model->predict(predicted);
      QCOMPARE(found.size(), std::size_t{3});
      std::vector<float> all;
      for (const Prediction& prediction : found) {
        QVERIFY(!prediction.ranked);
        all.insert(all.end(), prediction.logits.begin(), prediction.logits.end());
      }
      QVERIFY(sameBits(all, expected));
      const std::span<const float> last = model->predictedLogits(2);
      QVERIFY(sameBits({last.begin(), last.end()},
                       {expected.end() - static_cast<std::ptrdiff_t>(V), expected.end()}));
    }
  }
}

void BatchTest::nothingIsFedWhereAStepIsWrong() {
  const auto model = modelOf({"RRA", BackendKind::cpu, 1});
  SequenceState a = model->newState();
  SequenceState b = model->newState();
  const auto refused = [&](const std::vector<SequenceStep>& steps, const std::string& message) {
    try {
      model->step(steps);
    } catch (const Error& error) {
      QVERIFY2(error.code() == ErrorCode::badArgument &&
                   std::string(error.what()).find(message) != std::string::npos,
               error.what());
      QCOMPARE(a.position() + b.position(), 0);
      return;
    }
    QFAIL(("expected: " + message).c_str());
  };
  const auto V = static_cast<std::int32_t>(model->config().V);
  refused({}, "step: expected 1 to 512 sequences, found 0");
  refused({{&a, 1}, {&b, V}}, "token 1: expected 0 to " + std::to_string(V - 1));
  refused({{&a, 1}, {&b, 2}, {&a, 3}}, "expected different sequences, found one of them twice");
}

QTEST_GUILESS_MAIN(BatchTest)
#include "batch_test.moc"
