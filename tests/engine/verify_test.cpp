// The checks of engine/verify, as `eyrie-cli doctor` runs them, on both CPU implementations.
#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/checkpoint/checkpoint.h"
#include "engine/config.h"
#include "engine/intervention_plan.h"
#include "engine/verify/goldens.h"
#include "engine/verify/intervention_checks.h"
#include "engine/verify/invariants.h"
#include "engine/verify/model_run.h"
#include "engine/verify/npy_reader.h"
#include "engine/verify/op_parity.h"
#include "engine/verify/serving_checks.h"
#include "engine/verify/test_models.h"
#include "kernels/dtype.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using verify::CheckResult;

namespace {

// Prints what failed; true when nothing did.
bool allPassed(const std::vector<CheckResult>& results) {
  bool passed = !results.empty();
  for (const CheckResult& result : results) {
    if (result.passed) continue;
    passed = false;
    qWarning("%s", verify::describeCheck(result).c_str());
  }
  return passed;
}

QByteArray bytesOf(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

QStringList goldenSets() {
  return QDir(EYRIE_SOURCE_DIR "/tests/golden").entryList(QDir::Dirs | QDir::NoDotAndDotDot);
}

}  // namespace

class VerifyTest : public QObject {
  Q_OBJECT

 private slots:
  void goldensPass_data();
  void goldensPass();
  void windowMayBeCountedEitherWay_data();
  void windowMayBeCountedEitherWay();
  void windowRuleGivesThatWindowsGolden_data();
  void windowRuleGivesThatWindowsGolden();
  void gatesMayHaveAnyNumberOfBlocks_data();
  void gatesMayHaveAnyNumberOfBlocks();
  void trap24HuggingFaceIsNoReferenceBeyondTheWindow();
  void trap45ReferencesAreSinglePrecision();
  void tensorCoresRowsRejectSwappedGates();
  void invariantsHold_data();
  void invariantsHold();
  void servingHolds_data();
  void servingHolds();
  void interventionsDoWhatTheySay_data();
  void interventionsDoWhatTheySay();
  void fastOpsAgreeWithReference();
  void comparisonRejectsNaNAndWrongLength();
};

void VerifyTest::goldensPass_data() {
  QTest::addColumn<QString>("set");
  QTest::addColumn<int>("backend");
  for (const QString& set : goldenSets()) {
    QTest::addRow("%s, reference", qPrintable(set)) << set << static_cast<int>(BackendKind::reference);
    QTest::addRow("%s, cpu", qPrintable(set)) << set << static_cast<int>(BackendKind::cpu);
  }
}

void VerifyTest::goldensPass() {
  QFETCH(QString, set);
  QFETCH(int, backend);
  const std::filesystem::path folder =
      std::filesystem::path(EYRIE_SOURCE_DIR) / "tests/golden" / set.toStdString();
  QVERIFY(allPassed(verify::checkGolden(folder, static_cast<BackendKind>(backend))));
}

void VerifyTest::windowMayBeCountedEitherWay_data() {
  QTest::addColumn<int>("window");
  QTest::addColumn<QString>("counting");
  QTest::addColumn<bool>("same");
  QTest::newRow("16 and itself") << 16 << "dm" << true;
  QTest::newRow("17 with itself") << 17 << "hf" << true;
  QTest::newRow("16 with itself") << 16 << "hf" << false;
  QTest::newRow("17 and itself") << 17 << "dm" << false;
}

// DeepMind's reference with W = 16 sees 17 keys: counted Hugging Face's way that is a window of 17.
void VerifyTest::windowMayBeCountedEitherWay() {
  QFETCH(int, window);
  QFETCH(QString, counting);
  QFETCH(bool, same);
  test::ModelFiles files = test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/griffin-tiny");
  files.erase("trace.npz");  // its rows of attention are as long as the window
  files.erase("state.safetensors");
  test::editConfig(files, [&](auto& config) {
    config["attention_window_size"] = window;
    config["eyrie"] = {{"window_counting", counting.toStdString()}};
  });
  const QTemporaryDir folder;
  test::writeFolder(folder.path().toStdString(), files);
  const auto results = verify::checkGolden(folder.path().toStdString(), BackendKind::cpu);
  if (same) {
    QVERIFY(allPassed(results));
  } else {
    QVERIFY(!results.front().passed);
  }
}

void VerifyTest::windowRuleGivesThatWindowsGolden_data() {
  QTest::addColumn<QString>("rule");
  QTest::addColumn<bool>("same");
  QTest::newRow("the golden's window") << "window = 16" << true;
  QTest::newRow("one key fewer") << "window = 15" << false;
  QTest::newRow("one key more") << "window = 17" << false;
  QTest::newRow("no rule") << "" << false;
}

// A model of twice the window, kept to 16 keys by a rule, says what DeepMind's reference with W = 16 says.
void VerifyTest::windowRuleGivesThatWindowsGolden() {
  QFETCH(QString, rule);
  QFETCH(bool, same);
  test::ModelFiles files = test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/griffin-tiny");
  test::editConfig(files, [](auto& config) { config["attention_window_size"] = 32; });
  const QTemporaryDir folder;
  test::writeFolder(folder.path().toStdString(), files);
  const auto tokens = nlohmann::json::parse(files.at("tokens.json")).get<std::vector<std::int32_t>>();
  const std::vector<float> golden = verify::parseNpy(files.at("logits.npy"), "logits.npy").values;
  for (const BackendKind backend : {BackendKind::reference, BackendKind::cpu}) {
    LoadOptions options;
    options.backend = backend;
    const auto model = Model::load(Checkpoint::open(folder.path().toStdString()), options);
    for (const verify::Feeding& feeding : {verify::kPrefill, verify::kSteps, verify::kOddChunks}) {
      SequenceState state = model->newState();
      state.intervene(planInterventions(parseInterventions(rule.toStdString()), model->config()));
      verify::ModelRun run;
      verify::feed(*model, state, tokens, feeding, nullptr, run);
      const CheckResult result =
          verify::compareArrays(feeding.name, run.logits, golden, verify::kGoldenLogits);
      QVERIFY2(result.passed == same, verify::describeCheck(result).c_str());
    }
  }
}

void VerifyTest::gatesMayHaveAnyNumberOfBlocks_data() {
  QTest::addColumn<int>("blocks");
  QTest::addColumn<int>("backend");
  for (const int blocks : {1, 2}) {
    QTest::addRow("%d, reference", blocks) << blocks << static_cast<int>(BackendKind::reference);
    QTest::addRow("%d, cpu", blocks) << blocks << static_cast<int>(BackendKind::cpu);
  }
}

// The reference's four gate blocks of 20 channels, written as fewer with zeros between: the same model.
void VerifyTest::gatesMayHaveAnyNumberOfBlocks() {
  QFETCH(int, blocks);
  QFETCH(int, backend);
  constexpr std::size_t kOld = 4;
  constexpr std::size_t kWidth = 20;
  const std::size_t joined = kOld / static_cast<std::size_t>(blocks);
  const std::size_t width = kWidth * joined;
  test::ModelFiles files = test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/griffin-tiny");
  test::editTensors(files, [&](test::RawSafetensors& raw) {
    std::vector<std::string> gates;
    for (const auto& [name, entry] : raw.header.items()) {
      if (name.ends_with("gate_bias")) raw.header[name]["shape"] = {blocks, width};
      if (name.ends_with("gate_weight")) gates.push_back(name);
    }
    for (const std::string& name : gates) {
      const std::string old = test::tensorBytes(raw, name);
      std::string wide(kOld * kWidth * width * sizeof(float), '\0');
      for (std::size_t channel = 0; channel < kOld * kWidth; ++channel) {
        const std::size_t at = channel * width + channel / kWidth % joined * kWidth;
        wide.replace(at * sizeof(float), kWidth * sizeof(float), old, channel * kWidth * sizeof(float),
                     kWidth * sizeof(float));
      }
      test::removeTensor(raw, name);
      test::addTensor(raw, name, "F32", {blocks, std::int64_t(width), std::int64_t(width)}, wide);
    }
  });
  const QTemporaryDir folder;
  test::writeFolder(folder.path().toStdString(), files);
  QCOMPARE(Checkpoint::open(folder.path().toStdString())->config().gateBlocks, blocks);
  QVERIFY(allPassed(verify::checkGolden(folder.path().toStdString(), static_cast<BackendKind>(backend))));
}

// transformers drops a key too many once the text is longer than the window: sets made with it must be
// shorter.
void VerifyTest::trap24HuggingFaceIsNoReferenceBeyondTheWindow() {
  const QDir golden(EYRIE_SOURCE_DIR "/tests/golden");
  const QStringList sets = golden.entryList({"hf-*"}, QDir::Dirs);
  QVERIFY(!sets.isEmpty());
  for (const QString& set : sets) {
    const QString folder = golden.filePath(set);
    const ModelConfig config =
        parseConfig(bytesOf(folder + "/config.json").toStdString(), folder.toStdString() + "/config.json");
    const auto tokens = QJsonDocument::fromJson(bytesOf(folder + "/tokens.json")).array().size();
    QVERIFY2(tokens > 0 && tokens <= config.W,
             qPrintable(QString("%1: %2 tokens, window %3").arg(set).arg(tokens).arg(config.W)));
  }
}

void VerifyTest::trap45ReferencesAreSinglePrecision() {
  const QDir golden(EYRIE_SOURCE_DIR "/tests/golden");
  const QStringList sets = goldenSets();
  QCOMPARE(sets.size(), 9);
  for (const QString& set : sets) {
    const std::string file = golden.filePath(set + "/logits.npy").toStdString();
    QVERIFY2(bytesOf(QString::fromStdString(file)).left(64).contains("'descr': '<f4'"), file.c_str());
    const std::vector<float> logits = verify::readNpy(file).values;
    std::vector<float> rounded;
    for (const float value : logits) {
      rounded.push_back(eyrie::kernels::bf16ToFloat(eyrie::kernels::floatToBf16(value)));
    }
    QVERIFY2(!verify::compareArrays("bf16", rounded, logits, verify::kGoldenLogits).passed,
             "the tolerance accepts, and this set may be, what bf16 gives");
  }
}

// What cards may round where they multiply 16-bit weights (goldens.cpp) is less than what such a mistake
// does.
void VerifyTest::tensorCoresRowsRejectSwappedGates() {
  const auto right = verify::randomCheckpoint(verify::tinyConfig("RRA", 3), 5);
  const auto swapped = verify::bentCheckpoint(right, right->config(), [](const std::string& name) {
    QString other = QString::fromStdString(name);
    if (other.contains("input_gate_")) return other.replace("input_gate_", "recurrent_gate_").toStdString();
    return other.replace("recurrent_gate_", "input_gate_").toStdString();
  });
  const std::vector<std::int32_t> tokens = verify::TestRandom(3).tokens(30, right->config().V);
  const FrameLayout layout(right->config(), {TraceLevel::full, {}, 30});
  const auto runOf = [&](const std::shared_ptr<const Checkpoint>& checkpoint) {
    return verify::runModel(*Model::load(checkpoint), tokens, verify::kPrefill, &layout);
  };
  const verify::ModelRun expected = runOf(right);
  const verify::ModelRun found = runOf(swapped);
  const std::string state = "layers.1.rg_lru.h";
  const std::string logDecay = "layers.1.log_decay";
  QVERIFY(!verify::compareArrays("", found.logits, expected.logits, verify::kTensorLogits).passed);
  QVERIFY(!verify::compareArrays("", found.stateArrays().at(state), expected.stateArrays().at(state),
                                 verify::kTensorState)
               .passed);
  QVERIFY(!verify::compareArrays("", found.traces.at(logDecay), expected.traces.at(logDecay),
                                 verify::kTensorLogDecay)
               .passed);
}

void VerifyTest::invariantsHold_data() {
  QTest::addColumn<int>("backend");
  QTest::addColumn<int>("threads");
  QTest::newRow("reference: the same bits") << static_cast<int>(BackendKind::reference) << 1;
  QTest::newRow("cpu, one thread") << static_cast<int>(BackendKind::cpu) << 1;
  QTest::newRow("cpu, three threads") << static_cast<int>(BackendKind::cpu) << 3;
}

void VerifyTest::invariantsHold() {
  QFETCH(int, backend);
  QFETCH(int, threads);
  QVERIFY(allPassed(verify::checkInvariants(static_cast<BackendKind>(backend), threads)));
}

void VerifyTest::servingHolds_data() {
  invariantsHold_data();
}

void VerifyTest::servingHolds() {
  QFETCH(int, backend);
  QFETCH(int, threads);
  QVERIFY(allPassed(verify::checkServing(static_cast<BackendKind>(backend), threads)));
}

void VerifyTest::interventionsDoWhatTheySay_data() {
  invariantsHold_data();
}

void VerifyTest::interventionsDoWhatTheySay() {
  QFETCH(int, backend);
  QFETCH(int, threads);
  QVERIFY(allPassed(verify::checkInterventions(static_cast<BackendKind>(backend), threads)));
}

void VerifyTest::fastOpsAgreeWithReference() {
  QVERIFY(allPassed(verify::checkOpParity(1)));
  QVERIFY(allPassed(verify::checkOpParity(3)));
}

void VerifyTest::comparisonRejectsNaNAndWrongLength() {
  const std::vector<float> right = {1, 2, 3};
  const std::vector<float> nan = {1, std::numeric_limits<float>::quiet_NaN(), 3};
  QVERIFY(verify::compareArrays("same", right, right, verify::kSameBits).passed);
  QVERIFY(!verify::compareArrays("NaN", nan, right, verify::kGoldenLogits).passed);
  QVERIFY(!verify::compareArrays("short", std::span(right).first(2), right, verify::kGoldenLogits).passed);
  const std::vector<float> zero = {0, 0, 0};
  QVERIFY(!verify::compareArrays("zeros", right, zero, verify::kGoldenState).passed);
}

QTEST_GUILESS_MAIN(VerifyTest)
#include "verify_test.moc"
