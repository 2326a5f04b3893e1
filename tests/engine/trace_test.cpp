// Where numbers stand in a frame, what they are, and the recorder that keeps them.
#include "engine/trace.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/frame_builder.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"
#include "kernels/rg_lru.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;

namespace {

std::shared_ptr<Model> tinyModel(const std::string& pattern, std::int64_t layers, BackendKind backend) {
  LoadOptions options;
  options.backend = backend;
  options.threads = 1;
  return Model::load(randomCheckpoint(tinyConfig(pattern, layers), 5), options);
}

TokenRecord record(std::int64_t position, std::int32_t token) {
  TokenRecord made;
  made.position = position;
  made.token = token;
  return made;
}

TraceFrame frame(const FrameLayout& layout, std::int64_t position, std::int32_t token) {
  TraceFrame made{position, token, std::vector<float>(static_cast<std::size_t>(layout.frameSize()))};
  for (std::size_t i = 0; i < made.values.size(); ++i) {
    made.values[i] = static_cast<float>(position) + static_cast<float>(i) / 1024;
  }
  return made;
}

// Row `t` of a column of `run`.
std::span<const float> rowOf(const ModelRun& run, const std::string& name, std::size_t t, std::size_t size) {
  return std::span(run.traces.at(name)).subspan(t * size, size);
}

bool near(float a, double b) {
  return std::abs(static_cast<double>(a) - b) <= 1e-5 * std::max(1.0, std::abs(b));
}

}  // namespace

class TraceTest : public QObject {
  Q_OBJECT

 private slots:
  void layoutNamesAndShapes();
  void layoutOfAComplexRecurrence();
  void layoutOfChosenLayers();
  void levelOffHasNoColumns();
  void unknownLayerIsRefused();
  void quantilesAreNumpys();
  void summaryFollowsFromFull_data();
  void summaryFollowsFromFull();
  void framesOfPrefillEqualFramesOfSteps();
  void multiplierIsNotOneAfterTheFirstToken();
  void hfCountingSeesOneKeyLess();
  void recorderKeepsWhatItWasGiven();
  void newBranchDiscardsTheOld();
  void framesMayLagOrPrecede();
  void budgetGivesUpChannelsThenSummaries();
  void framesOfAnotherSizeAreIgnored();
};

void TraceTest::layoutNamesAndShapes() {
  const ModelConfig config = tinyConfig("RAG", 3);
  const FrameLayout layout(config, {TraceLevel::full, {}, 12});
  std::vector<std::string> names;
  std::int64_t offset = 0;
  for (const TraceColumn& column : layout.columns()) {
    names.push_back(column.name);
    QCOMPARE(column.offset, offset);
    offset += column.size;
  }
  QCOMPARE(layout.frameSize(), offset);
  const std::vector<std::string> expected = {"layers.0.state_norm",
                                             "layers.0.recurrence_gate_mean",
                                             "layers.0.input_gate_mean",
                                             "layers.0.write_norm",
                                             "layers.0.keep_norm",
                                             "layers.0.half_life_quantiles",
                                             "layers.0.recurrence_gate",
                                             "layers.0.input_gate",
                                             "layers.0.log_decay",
                                             "layers.0.decay",
                                             "layers.0.write",
                                             "layers.0.keep",
                                             "layers.0.state",
                                             "layers.1.attention_entropy",
                                             "layers.1.attention_first",
                                             "layers.1.attention",
                                             "layers.2.attention_entropy",
                                             "layers.2.attention_first",
                                             "layers.2.attention"};
  QVERIFY(names == expected);
  QVERIFY(layout.find(0, Quantity::state)->shape == std::vector<std::int64_t>{config.R});
  QVERIFY(layout.find(0, Quantity::stateNorm)->shape.empty());
  QVERIFY((layout.find(1, Quantity::attention)->shape == std::vector<std::int64_t>{config.H, config.W + 1}));
  QVERIFY((layout.find(2, Quantity::attention)->shape == std::vector<std::int64_t>{config.H, 12}));
  QVERIFY(layout.find(0, Quantity::attention) == nullptr);
  QVERIFY(layout.find(3, Quantity::state) == nullptr);
  QVERIFY(layout.find(-1, Quantity::state) == nullptr);
}

void TraceTest::layoutOfAComplexRecurrence() {
  const ModelConfig config = tinyConfig("RA", 2, RgLru::complex);
  const FrameLayout layout(config, {TraceLevel::full, {}, 12});
  const std::vector<std::int64_t> channels{config.R / 2};
  for (const Quantity quantity : {Quantity::recurrenceGate, Quantity::inputGate, Quantity::logDecay,
                                  Quantity::decay, Quantity::angle}) {
    QVERIFY2(layout.find(0, quantity)->shape == channels, quantityName(quantity));
  }
  const std::vector<std::int64_t> bothParts{config.R};
  for (const Quantity quantity : {Quantity::write, Quantity::keep, Quantity::state}) {
    QVERIFY2(layout.find(0, quantity)->shape == bothParts, quantityName(quantity));
  }
  const FrameLayout real(tinyConfig("RA", 2), {TraceLevel::full, {}, 12});
  QVERIFY(real.find(0, Quantity::angle) == nullptr);
}

void TraceTest::layoutOfChosenLayers() {
  const FrameLayout layout(tinyConfig("RRA", 6), {TraceLevel::full, {1, 5}, 512});
  QVERIFY(layout.find(0, Quantity::state) == nullptr);
  QVERIFY(layout.find(0, Quantity::stateNorm) != nullptr);
  QVERIFY(layout.find(1, Quantity::state) != nullptr);
  QVERIFY(layout.find(2, Quantity::attention) == nullptr);
  QVERIFY(layout.find(5, Quantity::attention) != nullptr);
}

void TraceTest::levelOffHasNoColumns() {
  const FrameLayout layout(tinyConfig("RRA", 6), {TraceLevel::off, {}, 512});
  QCOMPARE(layout.frameSize(), std::int64_t{0});
  QVERIFY(layout.columns().empty());
}

void TraceTest::unknownLayerIsRefused() {
  const ModelConfig config = tinyConfig("R", 2);
  QVERIFY_EXCEPTION_THROWN(FrameLayout(config, {TraceLevel::full, {2}, 512}), Error);
  QVERIFY_EXCEPTION_THROWN(FrameLayout(config, {TraceLevel::full, {-1}, 512}), Error);
  QVERIFY_EXCEPTION_THROWN(FrameLayout(config, {TraceLevel::full, {}, 0}), Error);
}

void TraceTest::quantilesAreNumpys() {
  // numpy.quantile([1, 2, 4, 8, 100], [0, .25, .3, .5, 1]) with half-lives ln 2 / -log_a.
  std::vector<float> logDecay;
  for (const double halfLife : {8.0, 1.0, 100.0, 2.0, 4.0}) {
    logDecay.push_back(static_cast<float>(-std::log(2.0) / halfLife));
  }
  const double levels[] = {0, 0.25, 0.3, 0.5, 1};
  const double expected[] = {1, 2, 2.4, 4, 100};
  float out[5];
  halfLifeQuantiles(logDecay, levels, out);
  for (int i = 0; i < 5; ++i) QVERIFY2(near(out[i], expected[i]), qPrintable(QString::number(out[i])));
  std::vector<float> never = {0, -1};
  halfLifeQuantiles(never, std::span(levels).last(1), out);
  QVERIFY(std::isinf(out[0]));
  std::vector<float> one = {-1};
  halfLifeQuantiles(one, levels, out);
  QVERIFY(near(out[0], std::log(2.0)) && near(out[4], std::log(2.0)));
  std::vector<float> broken = {-1, std::numeric_limits<float>::quiet_NaN()};
  halfLifeQuantiles(broken, levels, out);
  QVERIFY(std::isnan(out[2]));
}

void TraceTest::summaryFollowsFromFull_data() {
  QTest::addColumn<int>("backend");
  QTest::newRow("reference") << static_cast<int>(BackendKind::reference);
  QTest::newRow("cpu") << static_cast<int>(BackendKind::cpu);
}

void TraceTest::summaryFollowsFromFull() {
  QFETCH(int, backend);
  const auto model = tinyModel("RAG", 3, static_cast<BackendKind>(backend));
  const ModelConfig& config = model->config();
  const std::size_t R = static_cast<std::size_t>(config.R);
  const FrameLayout layout(config, {TraceLevel::full, {}, 40});
  const std::vector<std::int32_t> tokens = TestRandom(6).tokens(40, config.V);
  const ModelRun run = runModel(*model, tokens, kPrefill, &layout);
  std::vector<float> before(R, 0.0F);
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const auto norm = [&](const char* name) {
      double sum = 0;
      for (const float v : rowOf(run, name, t, R)) sum += static_cast<double>(v) * static_cast<double>(v);
      return std::sqrt(sum);
    };
    QVERIFY(near(run.traces.at("layers.0.state_norm")[t], norm("layers.0.state")));
    QVERIFY(near(run.traces.at("layers.0.write_norm")[t], norm("layers.0.write")));
    QVERIFY(near(run.traces.at("layers.0.keep_norm")[t], norm("layers.0.keep")));
    const auto state = rowOf(run, "layers.0.state", t, R);
    const auto write = rowOf(run, "layers.0.write", t, R);
    const auto keep = rowOf(run, "layers.0.keep", t, R);
    const auto decay = rowOf(run, "layers.0.decay", t, R);
    const auto logDecay = rowOf(run, "layers.0.log_decay", t, R);
    for (std::size_t r = 0; r < R; ++r) {
      QVERIFY(near(state[r], static_cast<double>(write[r]) + static_cast<double>(keep[r])));
      QVERIFY(near(keep[r], t == 0 ? 0.0 : static_cast<double>(decay[r]) * static_cast<double>(before[r])));
      QVERIFY(near(decay[r], std::exp(static_cast<double>(logDecay[r]))));
    }
    before.assign(state.begin(), state.end());
    for (const int layerIdx : {1, 2}) {
      const std::string prefix = "layers." + std::to_string(layerIdx) + ".";
      const std::size_t span = layerIdx == 1 ? static_cast<std::size_t>(config.W) + 1 : 40;
      const std::size_t H = static_cast<std::size_t>(config.H);
      const auto weights = rowOf(run, prefix + "attention", t, H * span);
      for (std::size_t head = 0; head < H; ++head) {
        double entropy = 0;
        double sum = 0;
        for (const float w : weights.subspan(head * span, span)) {
          sum += static_cast<double>(w);
          if (w > 0) entropy -= static_cast<double>(w) * std::log(static_cast<double>(w));
        }
        const std::size_t first = span - 1 - std::min(t, span - 1);
        QVERIFY(near(static_cast<float>(sum), 1.0));
        QVERIFY(near(rowOf(run, prefix + "attention_entropy", t, H)[head], entropy));
        QCOMPARE(rowOf(run, prefix + "attention_first", t, H)[head], weights[head * span + first]);
      }
    }
  }
}

void TraceTest::framesOfPrefillEqualFramesOfSteps() {
  const auto model = tinyModel("RAG", 3, BackendKind::reference);
  const std::vector<std::int32_t> tokens = TestRandom(6).tokens(40, model->config().V);
  for (const TraceLevel level : {TraceLevel::summary, TraceLevel::full}) {
    const FrameLayout layout(model->config(), {level, {}, 9});
    const ModelRun steps = runModel(*model, tokens, kSteps, &layout);
    QVERIFY(runModel(*model, tokens, kPrefill, &layout).traces == steps.traces);
    QVERIFY(runModel(*model, tokens, kOddChunks, &layout).traces == steps.traces);
    QVERIFY2(runModel(*model, tokens, kSteps).logits == steps.logits, "watching changes nothing");
  }
}

// Versions of transformers under torch.compile once set m = 1 everywhere.
void TraceTest::multiplierIsNotOneAfterTheFirstToken() {
  const float x[] = {1, 1};
  const float open[] = {50, 50};  // both gates wide open
  const float rate = 1;
  float state = 0;
  float out[2];
  float write[2];
  eyrie::kernels::RgLruArgs args{x, open, open, &rate, &state, true, 2, 1, out, {}};
  args.taps.write = write;
  eyrie::kernels::reference::rgLru(args);
  QVERIFY2(write[0] == 1, "position 0: m = 1");
  QVERIFY2(near(write[1], std::sqrt(1 - std::exp(-2.0))), "trap 48: m = sqrt(1 - a^2) at position 1");
}

void TraceTest::hfCountingSeesOneKeyLess() {
  ModelConfig config = tinyConfig("A", 1);
  config.windowCounting = WindowCounting::hf;
  const auto base = randomCheckpoint(config, 5);
  const auto model = Model::load(base);
  const FrameLayout layout(config, {TraceLevel::full, {}, 9});
  const ModelRun run = runModel(*model, TestRandom(6).tokens(20, config.V), kPrefill, &layout);
  const auto span = static_cast<std::size_t>(config.W) + 1;
  const auto weights = rowOf(run, "layers.0.attention", 19, static_cast<std::size_t>(config.H) * span);
  QVERIFY2(weights[0] == 0 && weights[1] > 0, "W visible keys, the token itself among them");
}

void TraceTest::recorderKeepsWhatItWasGiven() {
  const ModelConfig config = tinyConfig("RA", 2);
  const FrameLayout layout(config, {TraceLevel::full, {}, 512});
  Trace trace(config, layout);
  for (std::int64_t p = 0; p < 200; ++p) {
    trace.append(record(p, static_cast<std::int32_t>(p % 7)));
    if (p != 100) trace.append(frame(layout, p, static_cast<std::int32_t>(p % 7)));
  }
  QCOMPARE(trace.size(), std::int64_t{200});
  QCOMPARE(trace.droppedFrames(), std::int64_t{1});
  QVERIFY(!trace.hasFrame(100) && trace.hasFrame(99) && trace.hasFrame(199) && !trace.hasFrame(200));
  for (const TraceColumn& column : layout.columns()) {
    for (const std::int64_t p : {0, 63, 64, 99, 199}) {
      const std::span<const float> values = trace.values(column, p);
      const TraceFrame expected = frame(layout, p, 0);
      QCOMPARE(static_cast<std::int64_t>(values.size()), column.size);
      QVERIFY(std::equal(values.begin(), values.end(), expected.values.begin() + column.offset));
    }
    QVERIFY(trace.values(column, 100).empty() && std::isnan(trace.value(column, 100)));
    QVERIFY(trace.values(column, -1).empty() && std::isnan(trace.value(column, 0, column.size)));
  }
}

void TraceTest::newBranchDiscardsTheOld() {
  const ModelConfig config = tinyConfig("RA", 2);
  const FrameLayout layout(config, {TraceLevel::summary, {}, 512});
  Trace trace(config, layout);
  for (std::int64_t p = 0; p < 150; ++p) {
    trace.append(record(p, 1));
    trace.append(frame(layout, p, 1));
  }
  const std::uint64_t revision = trace.revision();
  trace.append(record(70, 2));
  QCOMPARE(trace.size(), std::int64_t{71});
  QVERIFY(trace.revision() > revision);
  QVERIFY(trace.hasFrame(69) && !trace.hasFrame(70));
  QCOMPARE(trace.token(70).token, 2);
  QCOMPARE(trace.droppedFrames(), std::int64_t{1});
  trace.append(frame(layout, 70, 2));
  QCOMPARE(trace.droppedFrames(), std::int64_t{0});
  trace.append(record(75, 3));
  QCOMPARE(trace.token(73).token, -1);
  QCOMPARE(trace.droppedFrames(), std::int64_t{5});
  trace.truncate(10);
  QCOMPARE(trace.size(), std::int64_t{10});
  QCOMPARE(trace.droppedFrames(), std::int64_t{0});
  trace.clear();
  QCOMPARE(trace.size(), std::int64_t{0});
  QCOMPARE(trace.bytes(), std::uint64_t{0});
}

void TraceTest::framesMayLagOrPrecede() {
  const ModelConfig config = tinyConfig("RA", 2);
  const FrameLayout layout(config, {TraceLevel::summary, {}, 512});
  Trace trace(config, layout);
  for (std::int64_t p = 0; p < 50; ++p) trace.append(record(p, 1));
  for (std::int64_t p = 0; p < 50; ++p) trace.append(frame(layout, p, 1));
  QCOMPARE(trace.size(), std::int64_t{50});
  QCOMPARE(trace.droppedFrames(), std::int64_t{0});
  trace.append(frame(layout, 50, 4));
  trace.append(record(50, 4));
  QCOMPARE(trace.token(50).token, 4);
  QCOMPARE(trace.droppedFrames(), std::int64_t{0});
  // A frame of another token is the first sign of a new branch.
  trace.append(frame(layout, 20, 9));
  QCOMPARE(trace.size(), std::int64_t{21});
  trace.append(record(20, 9));
  QVERIFY(trace.hasFrame(20));
  QCOMPARE(trace.token(20).token, 9);
}

void TraceTest::budgetGivesUpChannelsThenSummaries() {
  const ModelConfig config = tinyConfig("RA", 2);
  const FrameLayout layout(config, {TraceLevel::full, {}, 512});
  const std::uint64_t chunkBytes = static_cast<std::uint64_t>(layout.frameSize()) * 4 * kTraceChunk;
  const std::uint64_t budget = 3 * chunkBytes;
  Trace trace(config, layout, budget);
  const TraceColumn& norm = *layout.find(0, Quantity::stateNorm);
  const TraceColumn& state = *layout.find(0, Quantity::state);
  for (std::int64_t p = 0; p < 6400; ++p) {
    trace.append(record(p, 1));
    trace.append(frame(layout, p, 1));
    QVERIFY(trace.bytes() - static_cast<std::uint64_t>(trace.size()) * sizeof(TokenRecord) <= budget);
  }
  QVERIFY2(trace.values(state, 0).empty(), "the oldest channels are gone");
  QVERIFY(!trace.values(state, 6399).empty());
  std::int64_t summaries = 0;
  std::int64_t full = 0;
  for (std::int64_t p = 0; p < 6400; ++p) {
    summaries += std::isnan(trace.value(norm, p)) ? 0 : 1;
    full += trace.values(state, p).empty() ? 0 : 1;
    QCOMPARE(trace.hasFrame(p), !std::isnan(trace.value(norm, p)));
  }
  QVERIFY2(summaries > 3 * full, "summaries stay longer");
  QCOMPARE(trace.droppedFrames(), 6400 - full);
  QCOMPARE(trace.token(0).token, 1);
}

void TraceTest::framesOfAnotherSizeAreIgnored() {
  const ModelConfig config = tinyConfig("RA", 2);
  const FrameLayout layout(config, {TraceLevel::summary, {}, 512});
  Trace trace(config, layout);
  trace.append(TraceFrame{0, 1, {1, 2, 3}});
  QVERIFY(!trace.hasFrame(0));
  Trace empty;
  empty.append(record(0, 5));
  empty.append(TraceFrame{0, 5, {}});
  QCOMPARE(empty.size(), std::int64_t{1});
  QVERIFY(!empty.hasFrame(0));
}

QTEST_GUILESS_MAIN(TraceTest)
#include "trace_test.moc"
