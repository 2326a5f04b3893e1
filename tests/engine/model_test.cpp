// Loading and computing with whole models: what weights are used, how often, and that the result is theirs.
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QtTest>
#include <cmath>
#include <map>

#include "engine/cpu_backend.h"
#include "engine/error.h"
#include "engine/score.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"
#include "engine/weights.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;

class ModelTest : public QObject {
  Q_OBJECT

 private slots:
  void everyTensorIsUsedOnce_data();
  void everyTensorIsUsedOnce();
  void headIsNotScaled();
  void windowHoldsExactlyItsKeys_data();
  void windowHoldsExactlyItsKeys();
  void loadReportsProgressAndStops();
  void missingCudaIsSaidPlainly();
  void prefillStopsBetweenChunks();
  void prefillStopsWithinAChunkAndTheStateIsAsBefore();
  void sameThreadsGiveTheSameBits_data();
  void sameThreadsGiveTheSameBits();
  void stepsGiveTheSameBitsOnAnyThreads_data();
  void stepsGiveTheSameBitsOnAnyThreads();
  void builtInModelsAgreeWithTheirRecipe_data();
  void builtInModelsAgreeWithTheirRecipe();
};

void ModelTest::everyTensorIsUsedOnce_data() {
  QTest::addColumn<QString>("pattern");
  for (const char* pattern : {"R", "A", "G", "RRA"}) QTest::newRow(pattern) << QString(pattern);
}

void ModelTest::everyTensorIsUsedOnce() {
  QFETCH(QString, pattern);
  const ModelConfig config = tinyConfig(pattern.toStdString(), 4);
  std::map<std::string, int> uses;
  const auto counting = bentCheckpoint(randomCheckpoint(config, 1), config, [&](const std::string& name) {
    ++uses[name];
    return name;
  });
  loadWeights(counting);
  QCOMPARE(uses.size(), counting->tensors().size());
  for (const StoredTensor& tensor : counting->tensors()) {
    QVERIFY2(uses[tensor.name] == 1, ("trap 13: " + tensor.name).c_str());
  }
}

// Logits of the embedding itself: the final norm of the scaled row times the unscaled table.
void ModelTest::headIsNotScaled() {
  ModelConfig config = tinyConfig("R", 1);
  config.logitsSoftCap = 0;
  const auto weights = loadWeights(randomCheckpoint(config, 1));
  CpuBackend backend(weights, referenceOps(), 1, LoadOptions{}.movedFrom);
  const auto state = backend.newState();
  const std::int32_t token = 5;
  const ChunkPart part{state.get(), 0, std::span(&token, 1)};
  backend.begin(std::span(&part, 1), {Observe::nothing, 1});
  const std::span<const float> logits = backend.head(0, 1);
  const auto* table = static_cast<const float*>(weights->embedding.data);
  const auto D = static_cast<std::size_t>(config.D);
  const double scale = static_cast<double>(eyrie::kernels::embeddingScale(config.D));
  double square = 0;
  for (std::size_t d = 0; d < D; ++d) square += std::pow(scale * static_cast<double>(table[5 * D + d]), 2);
  const double divisor = std::sqrt(square / static_cast<double>(D) + 1e-6);
  for (std::size_t v = 0; v < logits.size(); ++v) {
    double expected = 0;
    for (std::size_t d = 0; d < D; ++d) {
      const double hidden = scale * static_cast<double>(table[5 * D + d]) / divisor;
      expected +=
          hidden * (1 + static_cast<double>(weights->finalNorm[d])) * static_cast<double>(table[v * D + d]);
    }
    QVERIFY2(std::abs(static_cast<double>(logits[v]) - expected) < 1e-5, "traps 17, 18");
  }
}

void ModelTest::windowHoldsExactlyItsKeys_data() {
  QTest::addColumn<bool>("hf");
  QTest::newRow("DeepMind: W + 1 keys (trap 22)") << false;
  QTest::newRow("Hugging Face: W keys (trap 22)") << true;
}

// The attention weights are what was summed: W back is seen, W + 1 back is not, from the first position on
// where it could be.
void ModelTest::windowHoldsExactlyItsKeys() {
  QFETCH(bool, hf);
  ModelConfig config = tinyConfig("A", 1);
  config.windowCounting = hf ? WindowCounting::hf : WindowCounting::dm;
  const auto model = Model::load(randomCheckpoint(config, 5));
  const FrameLayout layout(config, {TraceLevel::full, {}, 9});
  const ModelRun run = runModel(*model, TestRandom(6).tokens(30, config.V), kSteps, &layout);
  const auto columns = static_cast<std::size_t>(config.W) + 1;
  const auto H = static_cast<std::size_t>(config.H);
  for (std::size_t t = 0; t < 30; ++t) {
    for (std::size_t head = 0; head < H; ++head) {
      const float* weights = run.traces.at("layers.0.attention").data() + (t * H + head) * columns;
      double sum = 0;
      for (std::size_t back = 0; back < columns; ++back) {
        const float weight = weights[columns - 1 - back];
        const bool visible = back <= t && back <= static_cast<std::size_t>(config.olderKeys());
        QCOMPARE(weight > 0, visible);
        sum += static_cast<double>(weight);
      }
      QVERIFY(std::abs(sum - 1) < 1e-5);
    }
  }
  QCOMPARE(run.state.layers[0].keys.size(),
           static_cast<std::size_t>(config.olderKeys() * config.kvHeads * config.Dh));
}

void ModelTest::loadReportsProgressAndStops() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 1);
  LoadOptions options;
  double last = 0;
  options.progress = [&](double fraction) {
    QVERIFY(fraction > last && fraction <= 1);
    last = fraction;
  };
  Model::load(checkpoint, options);
  QCOMPARE(last, 1.0);
  std::stop_source source;
  int calls = 0;
  options.stop = source.get_token();
  options.progress = [&](double) {
    if (++calls == 3) source.request_stop();
  };
  try {
    Model::load(checkpoint, options);
    QFAIL("expected Error(cancelled)");
  } catch (const Error& error) {
    QCOMPARE(error.code(), ErrorCode::cancelled);
  }
  QCOMPARE(calls, 3);
}

void ModelTest::missingCudaIsSaidPlainly() {
  LoadOptions options;
  options.backend = BackendKind::cuda;
  try {
    Model::load(randomCheckpoint(tinyConfig("R", 1), 1), options);
    QFAIL("expected Error(unsupported)");
  } catch (const Error& error) {
    QCOMPARE(error.code(), ErrorCode::unsupported);
  }
}

void ModelTest::prefillStopsBetweenChunks() {
  const auto model = Model::load(randomCheckpoint(tinyConfig("RRA", 4), 1));
  const std::vector<std::int32_t> tokens = TestRandom(6).tokens(100, 41);
  class Stopper final : public PrefillObserver {
   public:
    void onLogits(std::int64_t position, std::span<const float> logits) override {
      (void)logits;
      if (position == 25) source.request_stop();
    }
    std::stop_source source;
  } stopper;
  SequenceState state = model->newState();
  QVERIFY(model->prefill(state, tokens, LogitRows::all, &stopper, nullptr, stopper.source.get_token(), 10)
              .empty());
  QCOMPARE(state.position(), std::int64_t{30});
  SequenceState other = model->newState();
  model->prefill(other, std::span(tokens).first(30), LogitRows::none, nullptr, nullptr, {}, 10);
  QVERIFY(state.download().layers[0].h == other.download().layers[0].h);
}

void ModelTest::prefillStopsWithinAChunkAndTheStateIsAsBefore() {
  const auto model = Model::load(randomCheckpoint(tinyConfig("RRA", 4), 1));
  const std::vector<std::int32_t> tokens = TestRandom(6).tokens(30, 41);
  class Stopper final : public PrefillObserver {
   public:
    void onWork(double done) override {
      work.push_back(done);
      if (done > 20 && done < 30) source.request_stop();
    }
    std::vector<double> work;
    std::stop_source source;
  } stopper;
  SequenceState state = model->newState();
  model->prefill(state, tokens, LogitRows::none, &stopper, nullptr, stopper.source.get_token(), 15);
  QCOMPARE(state.position(), std::int64_t{15});
  QCOMPARE(stopper.work, (std::vector<double>{3.75, 7.5, 11.25, 15, 18.75, 22.5}));
  SequenceState other = model->newState();
  model->prefill(other, std::span(tokens).first(15), LogitRows::none, nullptr, nullptr, {}, 15);
  const HostState stopped = state.download();
  const HostState whole = other.download();
  for (std::size_t i = 0; i < whole.layers.size(); ++i) {
    QVERIFY(stopped.layers[i].h == whole.layers[i].h);
    QVERIFY(stopped.layers[i].tail == whole.layers[i].tail);
    QVERIFY(stopped.layers[i].keys == whole.layers[i].keys);
  }
}

void addModelsOfEachKind() {
  QTest::addColumn<QString>("model");
  QTest::addColumn<QString>("dtype");
  QTest::newRow("tiny") << QString("tiny") << QString("auto");
  QTest::newRow("complex") << QString("complex") << QString("auto");
  for (const char* dtype : {"auto", "int8", "int4"})
    QTest::addRow("wide enough for threads at each step, %s", dtype) << QString("wide") << QString(dtype);
  for (const char* name : {"griffin", "hawk", "mqa"}) {
    if (!QFile::exists(QString(EYRIE_SOURCE_DIR) + "/assets/models/" + name + "/config.json")) continue;
    for (const char* dtype : {"auto", "int8", "int4"})
      QTest::addRow("%s, %s", name, dtype) << QString(name) << QString(dtype);
  }
}

std::shared_ptr<const Checkpoint> modelOfKind(const QString& name) {
  if (name == "tiny") return randomCheckpoint(tinyConfig("RRA", 5), 3);
  if (name == "complex") return randomCheckpoint(tinyConfig("RRA", 5, RgLru::complex), 3);
  if (name != "wide")
    return Checkpoint::open((QString(EYRIE_SOURCE_DIR) + "/assets/models/" + name).toStdString());
  ModelConfig config = tinyConfig("RA", 2);
  config.D = 1024;
  config.R = 1200;
  config.E = 1500;
  config.V = 3000;
  return randomCheckpoint(config, 3);
}

// Logits of every position and the state after them, single steps or chunks, as bytes.
std::vector<std::byte> bitsOf(const std::shared_ptr<const Checkpoint>& checkpoint, const QString& dtype,
                              int threads, bool inSteps) {
  LoadOptions options;
  options.threads = threads;
  options.weights = conversionNamed(dtype.toStdString());
  const auto model = Model::load(checkpoint, options);
  const std::vector<std::int32_t> tokens = TestRandom(9).tokens(40, model->config().V);
  class Rows final : public PrefillObserver {
   public:
    void onLogits(std::int64_t, std::span<const float> logits) override { add(logits); }
    void add(std::span<const float> logits) {
      const auto bytes = std::as_bytes(logits);
      bits.insert(bits.end(), bytes.begin(), bytes.end());
    }
    std::vector<std::byte> bits;
  } rows;
  SequenceState state = model->newState();
  if (inSteps) {
    for (const std::int32_t token : tokens) rows.add(model->step(state, token));
  } else {
    model->prefill(state, tokens, LogitRows::all, &rows, nullptr, {}, 23);
  }
  const std::vector<std::byte> after = serialiseState(state.download(), "m");
  rows.bits.insert(rows.bits.end(), after.begin(), after.end());
  return rows.bits;
}

void ModelTest::sameThreadsGiveTheSameBits_data() {
  addModelsOfEachKind();
}

void ModelTest::sameThreadsGiveTheSameBits() {
  QFETCH(QString, model);
  QFETCH(QString, dtype);
  const auto checkpoint = modelOfKind(model);
  for (const int threads : {1, 2, 3}) {
    for (const bool inSteps : {false, true}) {
      const auto expected = bitsOf(checkpoint, dtype, threads, inSteps);
      QVERIFY(!expected.empty());
      QVERIFY2(bitsOf(checkpoint, dtype, threads, inSteps) == expected,
               qPrintable(QString("%1 threads, %2").arg(threads).arg(inSteps ? "steps" : "chunks")));
    }
  }
}

void ModelTest::stepsGiveTheSameBitsOnAnyThreads_data() {
  addModelsOfEachKind();
}

void ModelTest::stepsGiveTheSameBitsOnAnyThreads() {
  QFETCH(QString, model);
  QFETCH(QString, dtype);
  const auto checkpoint = modelOfKind(model);
  const auto expected = bitsOf(checkpoint, dtype, 1, true);
  for (const int threads : {2, 3, 5})
    QVERIFY2(bitsOf(checkpoint, dtype, threads, true) == expected,
             qPrintable(QString("%1 threads").arg(threads)));
}

void ModelTest::builtInModelsAgreeWithTheirRecipe_data() {
  QTest::addColumn<QString>("folder");
  for (const char* name : {"griffin", "hawk", "mqa", "griffin-induction", "hawk-induction"}) {
    const QString folder = QString(EYRIE_SOURCE_DIR) + "/assets/models/" + name;
    if (QFile::exists(folder + "/reference.json")) QTest::newRow(name) << folder;
  }
}

// reference.json: log-probabilities by the training recipe's own forward pass.
void ModelTest::builtInModelsAgreeWithTheirRecipe() {
  QFETCH(QString, folder);
  QFile file(folder + "/reference.json");
  QVERIFY(file.open(QIODevice::ReadOnly));
  const QJsonObject reference = QJsonDocument::fromJson(file.readAll()).object();
  std::vector<std::int32_t> tokens;
  for (const QJsonValue& token : reference["tokens"].toArray()) tokens.push_back(token.toInt());
  const QJsonArray expected = reference["logprobs"].toArray();
  class Records final : public ScoreObserver {
   public:
    void onToken(const TokenRecord& record) override { records.push_back(record); }
    std::vector<TokenRecord> records;
  } scored;
  const auto model = Model::load(Checkpoint::open(folder.toStdString()));
  SequenceState state = model->newState();
  scoreTokens(*model, state, tokens, scored);
  QCOMPARE(static_cast<std::size_t>(expected.size()), tokens.size());
  double worst = 0;
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const double reference64 = expected[static_cast<int>(i)].toDouble();
    worst = std::max(worst, std::abs(static_cast<double>(scored.records[i].logprob) - reference64));
  }
  QVERIFY2(worst < 1e-3, qPrintable(QString("log-probabilities differ by up to %1").arg(worst)));
}

QTEST_GUILESS_MAIN(ModelTest)
#include "model_test.moc"
