// What comes back from the card after a step: predictions, replies drawn from them, traces. Its card is the
// emulator, whose streams do nothing before somebody waits: what is read too early is NaN.
#include <QtTest>
#include <cmath>
#include <set>

#include "engine/cuda/make_cuda_backend.h"
#include "engine/generator.h"
#include "engine/intervention_plan.h"
#include "engine/prediction.h"
#include "engine/verify/serving_checks.h"
#include "engine/verify/test_models.h"
#include "kernels/sample.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/cuda_emulator/streams.h"
#include "tests/engine/states.h"

using namespace eyrie;
using namespace eyrie::engine;
using test::sameBits;
using verify::randomCheckpoint;
using verify::TestRandom;
using verify::tinyConfig;

namespace {

LoadOptions on(BackendKind backend) {
  LoadOptions options;
  options.backend = backend;
  options.threads = 1;
  return options;
}

// Empty where the frames agree: relative to each value, or absolutely below 1.
QString difference(const TraceFrame& found, const TraceFrame& expected, const FrameLayout& layout) {
  if (found.values.size() != expected.values.size() || found.position != expected.position)
    return QStringLiteral("another frame");
  for (const TraceColumn& column : layout.columns()) {
    for (std::int64_t i = 0; i < column.size; ++i) {
      const auto at = static_cast<std::size_t>(column.offset + i);
      const double a = double{found.values[at]};
      const double b = double{expected.values[at]};
      if (a == b || (std::isnan(a) && std::isnan(b))) continue;
      if (std::abs(a - b) <= 1e-4 * std::max(1.0, std::abs(b))) continue;
      return QString("%1[%2]: expected %3, found %4")
          .arg(QString::fromStdString(column.name))
          .arg(i)
          .arg(b)
          .arg(a);
    }
  }
  return {};
}

// What is ranked of a row.
struct RankedRow {
  std::vector<std::int32_t> tokens;
  std::vector<float> largest;
  double mass = 0;
  float entropy = 0;
  kernels::Drawn drawn, expectedDraw;

  explicit RankedRow(const RankedLogits& ranked)
      : tokens(ranked.tokens.begin(), ranked.tokens.end()),
        largest(ranked.logits.begin(), ranked.logits.end()),
        mass(std::exp(double{ranked.scaled.logSumExp} - double{ranked.scaled.max})),
        entropy(ranked.stats.entropy),
        drawn(ranked.drawn) {
    kernels::reference::draw({ranked.logits.data(), ranked.tokens.data(), &ranked.stats, &ranked.scaled,
                              &ranked.rule, 1, ranked.V, std::ssize(ranked.tokens), &expectedDraw});
  }
  // Of all its logits.
  RankedRow(std::span<const float> all, float temperature) : tokens(256), largest(256) {
    const std::int64_t V = std::ssize(all);
    kernels::reference::topK({all.data(), V, 256, tokens.data(), largest.data()});
    for (const float logit : all)
      mass += std::exp((double{logit} - double{largest[0]}) / double{temperature});
    entropy = kernels::reference::logitStats(all.data(), V).entropy;
  }
};

// Each sequence has its own, and in each round another; every fourth lets more pass than are ranked.
kernels::DrawRule drawOf(int sequence, int round) {
  const float temperature = 0.6F + 0.1F * static_cast<float>(sequence % 5);
  const int topK = sequence % 4 == 2 ? 0 : 20 + sequence + round;
  return {temperature, topK, 0.99F, 0.0F, (0.37 + 0.2 * sequence + 0.31 * round) / 4};
}

}  // namespace

class CudaOutputsTest : public QObject {
  Q_OBJECT

 private slots:
  void init() { emulator::useOrder(emulator::Order::forward); }
  void servingHolds();
  void predictionsAreThoseOfAllLogits();
  void predictionsOfSeveralSequencesAreThoseOfTheirLogits_data();
  void predictionsOfSeveralSequencesAreThoseOfTheirLogits();
  void repliesAreThoseOfTheCpu_data();
  void repliesAreThoseOfTheCpu();
  void tracesAreThoseOfTheCpu_data();
  void tracesAreThoseOfTheCpu();
  void sequencesTogetherShowWhatEachShows();
  void stepsWithTheirHeadsAreOneGraph();
  void upToEightSequencesTakeTheLaunchesOfOne();
  void trap41GraphsGiveTheBitsOfTheirKernels();
  void editsAreSentAtOneGo();
  void observedStepsAreOneGraphToo();
  void whatAStepShowsDoesNotWaitForItsHead();
  void modelsOfOneCardDoNotMeet();
};

void CudaOutputsTest::servingHolds() {
  for (const verify::CheckResult& result : verify::checkServing(BackendKind::cuda))
    QVERIFY2(result.passed, verify::describeCheck(result).c_str());
}

// Of a vocabulary larger than what is ranked.
void CudaOutputsTest::predictionsAreThoseOfAllLogits() {
  ModelConfig config = tinyConfig("RRA", 3);
  config.V = 5000;
  const auto card = Model::load(randomCheckpoint(config, 5), on(BackendKind::cuda));
  SequenceState state = card->newState();
  for (const float temperature : {0.0F, 0.5F, 1.0F, 2.0F}) {
    const Prediction prediction = card->predict(state, 7, {temperature});
    QVERIFY(prediction.ranked && prediction.logits.empty());
    const RankedLogits ranked = prediction.ranked.value_or(RankedLogits{});
    QCOMPARE(ranked.V, 5000);
    QCOMPARE(ranked.tokens.size(), std::size_t{256});
    TokenRecord record = emptyRecord(state.position(), ranked.tokens[9]);
    PredictionReader::describe(ranked, record);
    const double mass = RankedRow(ranked).mass;
    const std::vector<std::int32_t> tokens(ranked.tokens.begin(), ranked.tokens.end());
    const std::vector<float> largest(ranked.logits.begin(), ranked.logits.end());
    const std::span<const float> all = card->predictedLogits();
    std::vector<std::int32_t> expectedTokens(256);
    std::vector<float> expected(256);
    kernels::reference::topK({all.data(), 5000, 256, expectedTokens.data(), expected.data()});
    QCOMPARE(tokens, expectedTokens);
    QCOMPARE(largest, expected);
    double expectedMass = 0;
    const double scale = temperature > 0 ? double{temperature} : 1.0;
    for (const float logit : all) expectedMass += std::exp((double{logit} - double{expected[0]}) / scale);
    QVERIFY2(std::abs(mass / expectedMass - 1) < 1e-5,
             qPrintable(QString("%1: %2").arg(mass).arg(expectedMass)));
    TokenRecord whole = emptyRecord(state.position(), record.token);
    PredictionReader().describe(all, whole);
    QCOMPARE(record.rank, 9);
    QCOMPARE(record.rank, whole.rank);
    QVERIFY(std::abs(record.logprob - whole.logprob) < 1e-4F &&
            std::abs(record.entropy - whole.entropy) < 1e-4F);
    for (int i = 0; i < kTopTokens; ++i) {
      QCOMPARE(record.topTokens[i], whole.topTokens[i]);
      QVERIFY(std::abs(record.topLogprobs[i] - whole.topLogprobs[i]) < 1e-4F);
    }
  }
}

void CudaOutputsTest::predictionsOfSeveralSequencesAreThoseOfTheirLogits_data() {
  QTest::addColumn<int>("sequences");
  QTest::addColumn<bool>("edited");  // one of them, so that no graph is taken
  QTest::newRow("3") << 3 << false;
  QTest::newRow("13, more than a product takes at once") << 13 << false;
  QTest::newRow("3, one of them edited") << 3 << true;
}

// What comes back is ranked, of each as of its logits, which can be had afterwards in any order.
void CudaOutputsTest::predictionsOfSeveralSequencesAreThoseOfTheirLogits() {
  QFETCH(int, sequences);
  QFETCH(bool, edited);
  ModelConfig config = tinyConfig("RRA", 3);
  config.V = 3000;
  const auto card = Model::load(randomCheckpoint(config, 5), on(BackendKind::cuda));
  std::vector<SequenceState> states;
  std::vector<SequenceStep> steps;
  for (int i = 0; i < sequences; ++i) states.push_back(card->newState());
  if (edited) states[1].intervene(planInterventions(parseInterventions("layer 1 mlp off"), config));
  for (SequenceState& state : states) steps.push_back({&state, 0, nullptr});
  std::set<std::int32_t> drawn;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i].token = 100 * round + static_cast<int>(i);
      steps[i].draw = drawOf(static_cast<int>(i), round);
    }
    const std::span<const Prediction> found = card->predict(steps);
    QCOMPARE(found.size(), steps.size());
    std::vector<RankedRow> rows;
    for (const Prediction& prediction : found) {
      QVERIFY(prediction.ranked && prediction.logits.empty());
      const std::size_t at = rows.size();
      QVERIFY(prediction.ranked->rule == steps[at].draw);
      rows.emplace_back(*prediction.ranked);
      QVERIFY(rows[at].drawn == rows[at].expectedDraw);
      drawn.insert(rows[at].drawn.token);
    }
    for (std::size_t i = rows.size(); i-- > 0;) {
      const std::span<const float> logits = card->predictedLogits(static_cast<std::int64_t>(i));
      QCOMPARE(logits.size(), std::size_t{3000});
      const RankedRow expected(logits, steps[i].draw.temperature);
      QCOMPARE(rows[i].tokens, expected.tokens);
      QCOMPARE(rows[i].largest, expected.largest);
      QVERIFY(std::abs(rows[i].mass / expected.mass - 1) < 1e-5);
      QVERIFY(std::abs(rows[i].entropy - expected.entropy) < 1e-4F);
    }
  }
  QVERIFY2(drawn.contains(-1) && drawn.size() > steps.size(), "some undecided, others of many kinds");
}

void CudaOutputsTest::repliesAreThoseOfTheCpu_data() {
  QTest::addColumn<float>("temperature");
  QTest::addColumn<float>("topP");
  QTest::addColumn<float>("penalty");
  QTest::newRow("greedy") << 0.0F << 1.0F << 1.0F;
  QTest::newRow("as usual") << 0.8F << 0.95F << 1.0F;
  QTest::newRow("all tokens") << 1.0F << 1.0F << 1.0F;
  QTest::newRow("penalised") << 0.8F << 0.95F << 1.3F;
}

// Whatever a draw needs of the logits.
void CudaOutputsTest::repliesAreThoseOfTheCpu() {
  QFETCH(float, temperature);
  QFETCH(float, topP);
  QFETCH(float, penalty);
  struct Tokens final : GenerateObserver {
    void onToken(const TokenRecord& record) override { all.push_back(record); }
    std::vector<TokenRecord> all;
  };
  ModelConfig config = tinyConfig("RRA", 3);
  config.V = 1200;
  const auto checkpoint = randomCheckpoint(config, 5);
  const auto context = TestRandom(6).tokens(4, config.V);
  GenerateOptions options;
  options.maxTokens = 12;
  options.sampling = {temperature, 0, topP, 0.0F, penalty, 11};
  options.trace.level = TraceLevel::off;
  options.eosTokens.clear();
  Tokens found;
  Tokens expected;
  for (auto& [kind, to] :
       {std::pair{BackendKind::cuda, &found}, std::pair{BackendKind::reference, &expected}}) {
    const auto model = Model::load(checkpoint, on(kind));
    SequenceState state = model->newState();
    generate(*model, state, context, options, *to);
  }
  QCOMPARE(found.all.size(), std::size_t{16});
  QCOMPARE(found.all.size(), expected.all.size());
  for (std::size_t i = 0; i < found.all.size(); ++i) {
    QCOMPARE(found.all[i].token, expected.all[i].token);
    QCOMPARE(found.all[i].rank, expected.all[i].rank);
  }
}

void CudaOutputsTest::tracesAreThoseOfTheCpu_data() {
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<bool>("complex");
  QTest::addColumn<bool>("full");
  QTest::addColumn<QVector<int>>("layers");  // in full; empty: all
  QTest::newRow("summary") << "RRA" << false << false << QVector<int>{};
  QTest::newRow("everything") << "RRA" << false << true << QVector<int>{};
  QTest::newRow("one layer") << "RRA" << false << true << QVector<int>{1};
  QTest::newRow("two layers apart") << "RAR" << false << true << QVector<int>{0, 1};
  QTest::newRow("summary of complex states") << "RRA" << true << false << QVector<int>{};
  QTest::newRow("complex states") << "RRA" << true << true << QVector<int>{};
  QTest::newRow("summary of a context that grows") << "RG" << false << false << QVector<int>{};
  QTest::newRow("a context that grows") << "RG" << false << true << QVector<int>{};
}

// A chunk, then steps past the window and the first ring of a context that grows.
void CudaOutputsTest::tracesAreThoseOfTheCpu() {
  QFETCH(QString, pattern);
  QFETCH(bool, complex);
  QFETCH(bool, full);
  QFETCH(QVector<int>, layers);
  const ModelConfig config = tinyConfig(pattern.toStdString(), 3, complex ? RgLru::complex : RgLru::real);
  const auto checkpoint = randomCheckpoint(config, 5);
  const auto reference = Model::load(checkpoint, on(BackendKind::reference));
  const auto card = Model::load(checkpoint, on(BackendKind::cuda));
  const FrameLayout layout(config, {full ? TraceLevel::full : TraceLevel::summary,
                                    std::vector<int>(layers.begin(), layers.end()), 40});
  struct Frames final : PrefillObserver {
    void onFrame(const TraceFrame& frame) override { all.push_back(frame); }
    std::vector<TraceFrame> all;
  };
  Frames expectedChunk;
  Frames foundChunk;
  SequenceState a = reference->newState();
  SequenceState b = card->newState();
  const auto text = TestRandom(2).tokens(50, config.V);
  reference->prefill(a, text, LogitRows::none, &expectedChunk, &layout);
  card->prefill(b, text, LogitRows::none, &foundChunk, &layout);
  QCOMPARE(foundChunk.all.size(), expectedChunk.all.size());
  for (std::size_t i = 0; i < foundChunk.all.size(); ++i)
    QCOMPARE(difference(foundChunk.all[i], expectedChunk.all[i], layout), QString());
  for (const std::int32_t token : TestRandom(9).tokens(25, config.V)) {
    TraceFrame expected;
    TraceFrame found;
    reference->step(a, token, &expected, &layout);
    card->predict(b, token, {0.8F}, &found, &layout);
    QCOMPARE(difference(found, expected, layout), QString());
  }
}

// Of three sequences two are observed, and unobserved steps come between.
void CudaOutputsTest::sequencesTogetherShowWhatEachShows() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 3), 5);
  const auto card = Model::load(checkpoint, on(BackendKind::cuda));
  const auto reference = Model::load(checkpoint, on(BackendKind::reference));
  const FrameLayout layout(card->config(), {TraceLevel::full, {}, 40});
  std::vector<SequenceState> states;
  std::vector<SequenceState> alone;
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto text = TestRandom(10 + static_cast<std::uint64_t>(i)).tokens(1 + 7 * i, card->config().V);
    states.push_back(card->newState());
    alone.push_back(reference->newState());
    card->prefill(states.back(), text, LogitRows::none);
    reference->prefill(alone.back(), text, LogitRows::none);
  }
  for (std::int32_t round = 0; round < 4; ++round) {
    TraceFrame found[3];
    std::vector<SequenceStep> steps;
    for (std::size_t i = 0; i < 3; ++i) {
      const bool observed = round != 2 && i != 1;
      steps.push_back({&states[i], round + static_cast<std::int32_t>(i), observed ? &found[i] : nullptr});
    }
    card->step(steps, &layout);
    for (std::size_t i = 0; i < 3; ++i) {
      TraceFrame expected;
      reference->step(alone[i], steps[i].token, &expected, &layout);
      if (steps[i].frame != nullptr) QCOMPARE(difference(found[i], expected, layout), QString());
    }
  }
}

// The first step of a kind runs as it is, the second is captured.
void CudaOutputsTest::stepsWithTheirHeadsAreOneGraph() {
  const auto card = Model::load(randomCheckpoint(tinyConfig("RRA", 3), 5), on(BackendKind::cuda));
  SequenceState one = card->newState();
  SequenceState other = card->newState();
  const auto piecesOf = [](const std::function<void()>& step) {
    for (int i = 0; i < 2; ++i) step();
    const std::uint64_t before = emulator::given();
    step();
    return emulator::given() - before;
  };
  // Its inputs, the graph, what comes back.
  QCOMPARE(piecesOf([&] { card->predict(one, 1, {0.8F}); }), 3U);
  QCOMPARE(piecesOf([&] { card->step(one, 1); }), 3U);
  const SequenceStep both[] = {{&one, 1, nullptr}, {&other, 2, nullptr}};
  QCOMPARE(piecesOf([&] { card->step(both); }), 3U);
  QCOMPARE(piecesOf([&] { card->predict(both); }), 3U);
  // Whose predictions nobody wants.
  const std::int32_t token = 1;
  QCOMPARE(piecesOf([&] { card->prefill(one, std::span(&token, 1), LogitRows::none); }), 2U);
}

// So the weights are read once for all of them, seven too.
void CudaOutputsTest::upToEightSequencesTakeTheLaunchesOfOne() {
  for (const kernels::DType dtype : {kernels::DType::f32, kernels::DType::bf16}) {
    LoadOptions options = on(BackendKind::cuda);
    options.weights = dtype;
    const auto card = Model::load(randomCheckpoint(tinyConfig("RRA", 3), 5), options);
    std::vector<SequenceState> states;
    for (int i = 0; i < 8; ++i) states.push_back(card->newState());
    const auto launchesOf = [&](std::size_t sequences) {
      std::vector<SequenceStep> steps;
      for (std::size_t i = 0; i < sequences; ++i) steps.push_back({&states[i], 1, nullptr});
      const std::uint64_t before = emulator::launches();
      card->step(steps);
      return emulator::launches() - before;
    };
    const std::uint64_t ofOne = launchesOf(1);
    QVERIFY2(ofOne <= 7 * 3 + 6, qPrintable(QString("%1 launches").arg(ofOne)));
    for (std::size_t sequences = 2; sequences <= 8; ++sequences) QCOMPARE(launchesOf(sequences), ofOne);
  }
}

// Two sequences together, then one of them, predicted, and observed: each kind of step often enough to be
// replayed, past the window and the first ring of a context that grows.
void CudaOutputsTest::trap41GraphsGiveTheBitsOfTheirKernels() {
  for (const char* pattern : {"RRA", "RG"}) {
    const auto checkpoint = randomCheckpoint(tinyConfig(pattern, 3), 5);
    struct Run {
      std::vector<float> logits;
      std::vector<TraceFrame> frames;
      std::vector<kernels::Drawn> drawn;
      std::uint64_t given = 0;
    };
    const auto run = [&](bool graphs) {
      LoadOptions options = on(BackendKind::cuda);
      options.graphs = graphs;
      const auto card = Model::load(checkpoint, options);
      const FrameLayout layout(card->config(), {TraceLevel::full, {}, 40});
      SequenceState a = card->newState();
      SequenceState b = card->newState();
      Run found;
      const auto keep = [&](std::span<const float> logits) {
        found.logits.insert(found.logits.end(), logits.begin(), logits.end());
      };
      const std::uint64_t before = emulator::given();
      for (const std::int32_t token : TestRandom(4).tokens(24, card->config().V)) {
        const SequenceStep both[] = {{&a, token, nullptr}, {&b, (token + 1) % 40, nullptr}};
        keep(card->step(both));
        keep(card->step(a, token));
        const RankedLogits ranked = card->predict(a, token, drawOf(0, token)).ranked.value_or(RankedLogits{});
        keep(ranked.logits);
        found.drawn.push_back(ranked.drawn);
        keep(card->step(b, token, &found.frames.emplace_back(), &layout));
      }
      found.given = emulator::given() - before;
      return found;
    };
    const Run replayed = run(true);
    const Run launched = run(false);
    QVERIFY2(launched.given > 2 * replayed.given, "both take graphs, or neither");
    QVERIFY(!replayed.logits.empty() && replayed.logits == launched.logits);
    QVERIFY(!replayed.drawn.empty() && replayed.drawn == launched.drawn);
    for (std::size_t i = 0; i < replayed.frames.size(); ++i)
      QVERIFY(sameBits(replayed.frames[i].values, launched.frames[i].values));
  }
}

// However many there are, and only where they are new; a step takes no memory for them and gives none back.
void CudaOutputsTest::editsAreSentAtOneGo() {
  const ModelConfig config = tinyConfig("RRA", 3);
  const auto card = Model::load(randomCheckpoint(config, 5), on(BackendKind::cuda));
  SequenceState state = card->newState();
  const auto copiesOfStep = [&] {
    const std::uint64_t before = emulator::given() - emulator::launches();
    card->step(state, 1);
    return emulator::given() - emulator::launches() - before;
  };
  // Of a step with new rules, and of the next.
  const auto copiesOf = [&](const char* rules) {
    const auto intervene = [&] { state.intervene(planInterventions(parseInterventions(rules), config)); };
    intervene();
    copiesOfStep();
    emulator::limitMemory(emulator::memoryInUse());
    intervene();
    const std::uint64_t first = copiesOfStep();
    const std::uint64_t next = copiesOfStep();
    emulator::limitMemory(SIZE_MAX);
    return std::vector{first, next};
  };
  const std::vector<std::uint64_t> few = copiesOf("layer 1 mlp off");
  QCOMPARE(few[1], few[0] - 1);
  QCOMPARE(copiesOf("mlp *= 0.5; block[0:2] = 1; layer 0-1 state *= 0.5; layer 0 conv[0:3] = 0; head 1 off"),
           few);
}

void CudaOutputsTest::observedStepsAreOneGraphToo() {
  const auto card = Model::load(randomCheckpoint(tinyConfig("RRA", 6), 5), on(BackendKind::cuda));
  const FrameLayout layout(card->config(), {TraceLevel::summary, {}, 40});
  SequenceState state = card->newState();
  TraceFrame frame;
  const auto launchesOf = [&](TraceFrame* observed) {
    const std::uint64_t before = emulator::launches();
    for (int i = 0; i < 5; ++i) card->step(state, 1, observed, &layout);
    return (emulator::launches() - before) / 5;
  };
  launchesOf(nullptr);
  QCOMPARE(launchesOf(&frame), launchesOf(nullptr) + 1);  // the summary
}

// Frames are made of it while the card computes predictions.
void CudaOutputsTest::whatAStepShowsDoesNotWaitForItsHead() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 3), 5);
  const auto backend = makeCudaBackend(*loadWeights(checkpoint));
  const auto state = backend->newState();
  const std::int32_t token = 1;
  const ChunkPart part{state.get(), 0, std::span(&token, 1)};
  const kernels::DrawRule draw{0.8F};
  backend->begin(std::span(&part, 1), {Observe::full, 1, std::span(&draw, 1)});
  for (const int layerIdx : {0, 1, 2}) {
    layerIdx == 2 ? void(backend->attentionBlock(layerIdx, Observe::full))
                  : void(backend->recurrentBlock(layerIdx, Observe::full));
    backend->mlpBlock(layerIdx);
  }
  backend->end();
  const std::uint64_t before = emulator::launches();
  backend->showViews();
  const std::uint64_t shown = emulator::launches() - before;
  QCOMPARE(backend->ranked(0, 1).size(), std::size_t{1});
  const std::uint64_t all = emulator::launches() - before;
  QVERIFY2(shown > 0 && all >= shown + 6, qPrintable(QString("%1 of %2").arg(shown).arg(all)));
}

// Compare has two at once. Each goes through chunks, first steps, captured ones and replays between those of
// the others.
void CudaOutputsTest::modelsOfOneCardDoNotMeet() {
  struct Resident {
    std::shared_ptr<Model> card;
    SequenceState state;
    std::vector<std::vector<float>> rows;
  };
  const std::shared_ptr<const Checkpoint> checkpoints[] = {randomCheckpoint(tinyConfig("RRA", 3), 5),
                                                           randomCheckpoint(tinyConfig("R", 2), 6),
                                                           randomCheckpoint(tinyConfig("RG", 3), 7)};
  const auto text = TestRandom(1).tokens(20, tinyConfig("R", 2).V);
  const auto next = TestRandom(2).tokens(6, tinyConfig("R", 2).V);
  const auto load = [&](std::size_t i) {
    const std::shared_ptr<Model> card = Model::load(checkpoints[i], on(BackendKind::cuda));
    return Resident{card, card->newState(), {}};
  };
  const auto step = [](Resident& resident, std::int32_t token) {
    const auto logits = resident.card->step(resident.state, token);
    resident.rows.emplace_back(logits.begin(), logits.end());
  };
  std::vector<Resident> together;
  for (std::size_t i = 0; i < 3; ++i) together.push_back(load(i));
  for (Resident& resident : together) resident.card->prefill(resident.state, text, LogitRows::none);
  for (const std::int32_t token : next) {
    for (Resident& resident : together) step(resident, token);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    Resident alone = load(i);
    alone.card->prefill(alone.state, text, LogitRows::none);
    for (const std::int32_t token : next) step(alone, token);
    QVERIFY2(together[i].rows == alone.rows, qPrintable(QString("model %1").arg(i)));
  }
}

QTEST_GUILESS_MAIN(CudaOutputsTest)
#include "cuda_outputs_test.moc"
