// SequenceState as a value, its envelope against hostile bytes, and how weights are held.
#include "engine/sequence_state.h"

#include <sys/resource.h>

#include <QtTest>
#include <cstring>

#include "engine/cpu_backend.h"
#include "engine/error.h"
#include "engine/make_model.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"
#include "engine/weights.h"
#include "tests/engine/states.h"
#include "tests/sanitized.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;
using eyrie::engine::test::sameBits;

namespace {

std::shared_ptr<Model> tinyModel(const std::string& pattern, std::int64_t layers,
                                 BackendKind backend = BackendKind::reference) {
  LoadOptions options;
  options.backend = backend;
  options.threads = 1;
  return Model::load(randomCheckpoint(tinyConfig(pattern, layers), 5), options);
}

// The message of the Error that `call` throws; empty if it throws none.
template <typename Call>
std::string messageOf(ErrorCode code, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code() == code ? error.what() : "another code: " + std::string(error.what());
  }
  return {};
}

HostState stateAfter(Model& model, std::int64_t tokens) {
  SequenceState state = model.newState();
  model.prefill(state, TestRandom(1).tokens(tokens, model.config().V), LogitRows::none);
  return state.download();
}

}  // namespace

class SequenceStateTest : public QObject {
  Q_OBJECT

 private slots:
  void envelopeIsExact_data();
  void envelopeIsExact();
  void envelopeRefusesOtherModels();
  void envelopeSurvivesHostileBytes();
  void absurdSizesAllocateNothing();
  void wrongShapesAreNamed();
  void cloneIsIndependent();
  void clonesOfLargeStatesAreWhole();
  void ringGrowsWithTheText();
  void duplicateHeadIsNotHeldTwice();
  void longPromptNeedsNoLogitsOfEveryPosition();
  void tokenOutsideVocabularyChangesNothing();
};

void SequenceStateTest::envelopeIsExact_data() {
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<int>("tokens");
  for (const char* pattern : {"R", "A", "G", "RRA"}) {
    for (const int tokens : {0, 1, 6, 7, 8, 20}) {
      const QString name = QString("%1 after %2 tokens (trap 42)").arg(pattern).arg(tokens);
      QTest::newRow(qPrintable(name)) << QString(pattern) << tokens;
    }
  }
}

void SequenceStateTest::envelopeIsExact() {
  QFETCH(QString, pattern);
  QFETCH(int, tokens);
  const auto model = tinyModel(pattern.toStdString(), 3);
  const HostState state = stateAfter(*model, tokens);
  QCOMPARE(state.position, std::int64_t{tokens});
  const HostState parsed = parseState(serialiseState(state, "abc"), model->config(), "abc");
  QVERIFY(sameBits(parsed, state));
  QVERIFY(sameBits(model->restoreState(parsed).download(), state));
}

void SequenceStateTest::envelopeRefusesOtherModels() {
  const auto model = tinyModel("RRA", 3);
  const std::vector<std::byte> bytes = serialiseState(stateAfter(*model, 9), "fingerprint-a");
  const std::string message =
      messageOf(ErrorCode::stateMismatch, [&] { parseState(bytes, model->config(), "fingerprint-b"); });
  QVERIFY2(message.find("fingerprint-a") != std::string::npos, message.c_str());
  QVERIFY2(message.find("fingerprint-b") != std::string::npos, message.c_str());
  const ModelConfig other = tinyConfig("RA", 3);
  QVERIFY(!messageOf(ErrorCode::stateMismatch, [&] { parseState(bytes, other, "fingerprint-a"); }).empty());
}

// Every cut and a flip of every byte end in Error(stateMismatch), never in a crash or another state.
void SequenceStateTest::envelopeSurvivesHostileBytes() {
  const auto model = tinyModel("RA", 2);
  const std::vector<std::byte> good = serialiseState(stateAfter(*model, 9), "abc");
  for (std::size_t length = 0; length < good.size(); length += length < 200 ? 1 : 37) {
    const std::vector<std::byte> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length));
    const std::string message =
        messageOf(ErrorCode::stateMismatch, [&] { parseState(cut, model->config(), "abc"); });
    QVERIFY2(message.starts_with("saved state: "), qPrintable(QString::number(length)));
  }
  for (std::size_t at = 0; at < good.size(); at += at < 200 ? 1 : 13) {
    std::vector<std::byte> bent = good;
    bent[at] ^= std::byte{0x41};
    const std::string message =
        messageOf(ErrorCode::stateMismatch, [&] { parseState(bent, model->config(), "abc"); });
    QVERIFY2(message.starts_with("saved state: "), qPrintable(QString::number(at)));
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  QVERIFY(!messageOf(ErrorCode::stateMismatch, [&] { parseState(longer, model->config(), "abc"); }).empty());
}

void SequenceStateTest::absurdSizesAllocateNothing() {
  const auto model = tinyModel("RG", 2);
  std::vector<std::byte> bytes = serialiseState(stateAfter(*model, 9), "abc");
  const std::size_t positionAt = 8 + 4 + 4 + 3;
  for (const std::int64_t position : {std::int64_t{-1}, std::int64_t{1} << 39, INT64_MAX, std::int64_t{10}}) {
    std::memcpy(bytes.data() + positionAt, &position, sizeof position);
    QVERIFY(!messageOf(ErrorCode::stateMismatch, [&] { parseState(bytes, model->config(), "abc"); }).empty());
  }
  const std::uint32_t length = UINT32_MAX;
  std::memcpy(bytes.data() + 12, &length, sizeof length);
  QVERIFY(!messageOf(ErrorCode::stateMismatch, [&] { parseState(bytes, model->config(), "abc"); }).empty());
}

void SequenceStateTest::wrongShapesAreNamed() {
  const auto model = tinyModel("RA", 2);
  HostState state = stateAfter(*model, 9);
  state.layers[1].values.pop_back();
  const std::string message = messageOf(ErrorCode::stateMismatch, [&] { model->restoreState(state); });
  QVERIFY2(message.find("layers.1") != std::string::npos, message.c_str());
  state.layers.pop_back();
  QVERIFY(!messageOf(ErrorCode::stateMismatch, [&] { model->restoreState(state); }).empty());
}

void SequenceStateTest::cloneIsIndependent() {
  const auto model = tinyModel("RRA", 3);
  SequenceState state = model->newState();
  model->prefill(state, TestRandom(1).tokens(12, model->config().V), LogitRows::none);
  const HostState before = state.download();
  SequenceState copy = state.clone();
  model->step(copy, 3);
  QVERIFY(sameBits(state.download(), before));
  model->step(state, 3);
  QVERIFY(sameBits(state.download(), copy.download()));
}

void SequenceStateTest::clonesOfLargeStatesAreWhole() {
  const ModelConfig config = presetConfig("recurrentgemma-2b");
  TestRandom random(1);
  HostState state;
  state.position = 5000;
  for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx) {
    LayerState& layer = state.layers.emplace_back();
    if (config.blocks[static_cast<std::size_t>(layerIdx)] == BlockKind::recurrent) {
      layer.h = random.normals(config.R);
      layer.tail = random.normals((config.K - 1) * config.R);
    } else {
      const std::int64_t floats =
          rememberedKeys(config, layerIdx, state.position) * config.kvHeads * config.Dh;
      layer.keys = random.normals(floats);
      layer.values = random.normals(floats);
    }
  }
  for (const int threads : {1, 2}) {
    std::unique_ptr<BackendState> copy;
    {
      CpuState original(config, threads);
      original.restore(state);
      copy = original.clone();
    }
    QVERIFY2(sameBits(copy->download(INT64_MAX), state), qPrintable(QString("%1 threads").arg(threads)));
  }
}

void SequenceStateTest::ringGrowsWithTheText() {
  ModelConfig config = tinyConfig("A", 1);
  config.W = 1000;
  const auto model = Model::load(randomCheckpoint(config, 1));
  SequenceState state = model->newState();
  QCOMPARE(state.bytes(), std::uint64_t{0});
  const std::uint64_t row = 2 * 4 * static_cast<std::uint64_t>(config.kvHeads * config.Dh);
  model->prefill(state, TestRandom(1).tokens(100, config.V), LogitRows::none);
  QVERIFY(state.bytes() >= 100 * row && state.bytes() <= 200 * row);
  model->prefill(state, TestRandom(1).tokens(3000, config.V), LogitRows::none);
  QCOMPARE(state.bytes(), 1000 * row);
}

void SequenceStateTest::duplicateHeadIsNotHeldTwice() {
  const std::filesystem::path golden = std::filesystem::path(EYRIE_SOURCE_DIR) / "tests/golden";
  const auto duplicate = loadWeights(Checkpoint::open(golden / "griffin-bf16-sharded"));
  QVERIFY2(duplicate->head.data == duplicate->embedding.data,
           "trap 19: lm_head.weight equal to the embedding");
  const auto absent = loadWeights(Checkpoint::open(golden / "hf-community"));
  QVERIFY2(absent->head.data == absent->embedding.data, "trap 19: no lm_head.weight");
  QCOMPARE(absent->head.rows, absent->checkpoint->config().V);
}

// safetensors files may start their buffer at any byte.
void SequenceStateTest::longPromptNeedsNoLogitsOfEveryPosition() {
  ModelConfig config = tinyConfig("R", 1);
  config.V = 60000;
  const auto model = Model::load(randomCheckpoint(config, 1));
  SequenceState state = model->newState();
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;  // MiB
  };
  const std::vector<std::int32_t> tokens = TestRandom(1).tokens(4000, config.V);
  const long before = peak();
  QCOMPARE(model->prefill(state, tokens, LogitRows::last).size(), std::size_t{60000});
  QVERIFY2(eyrie::kSanitized || peak() - before < 200, "trap 36: all 4000 rows of logits would take 915 MiB");
  class Counter final : public PrefillObserver {
   public:
    void onLogits(std::int64_t position, std::span<const float> logits) override {
      inOrder = inOrder && position == count++ && logits.size() == 60000;
    }
    std::int64_t count = 0;
    bool inOrder = true;
  } counter;
  SequenceState again = model->newState();
  model->prefill(again, std::span(tokens).first(600), LogitRows::all, &counter);
  QCOMPARE(counter.count, std::int64_t{600});
  QVERIFY(counter.inOrder);
  QVERIFY2(eyrie::kSanitized || peak() - before < 200, "trap 36: all logits asked for, in slices");
}

void SequenceStateTest::tokenOutsideVocabularyChangesNothing() {
  const auto model = tinyModel("RRA", 3);
  SequenceState state = model->newState();
  model->step(state, 1);
  const HostState before = state.download();
  const std::vector<std::int32_t> tokens = {1, 2, 41};
  const std::string message =
      messageOf(ErrorCode::badArgument, [&] { model->prefill(state, tokens, LogitRows::last); });
  QVERIFY2(message.find("41") != std::string::npos, message.c_str());
  QVERIFY(!messageOf(ErrorCode::badArgument, [&] { model->step(state, -1); }).empty());
  QVERIFY(sameBits(state.download(), before));
}

QTEST_GUILESS_MAIN(SequenceStateTest)
#include "sequence_state_test.moc"
