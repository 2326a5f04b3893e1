// The checks of engine/verify, as `eyrie-cli doctor` runs them, on both CPU implementations.
#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QtTest>
#include <cmath>
#include <limits>

#include "engine/config.h"
#include "engine/verify/goldens.h"
#include "engine/verify/intervention_checks.h"
#include "engine/verify/invariants.h"
#include "engine/verify/npy_reader.h"
#include "engine/verify/op_parity.h"
#include "kernels/dtype.h"

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

}  // namespace

class VerifyTest : public QObject {
  Q_OBJECT

 private slots:
  void goldensPass_data();
  void goldensPass();
  void trap24HuggingFaceIsNoReferenceBeyondTheWindow();
  void trap45ReferencesAreSinglePrecision();
  void invariantsHold_data();
  void invariantsHold();
  void interventionsDoWhatTheySay_data();
  void interventionsDoWhatTheySay();
  void fastOpsAgreeWithReference();
  void comparisonRejectsNaNAndWrongLength();
};

void VerifyTest::goldensPass_data() {
  QTest::addColumn<QString>("set");
  QTest::addColumn<int>("backend");
  for (const char* set :
       {"griffin-tiny", "hawk-tiny", "griffin-bf16-sharded", "griffin-long", "mqa-global", "hf-community"}) {
    QTest::addRow("%s, reference", set) << set << static_cast<int>(BackendKind::reference);
    QTest::addRow("%s, cpu", set) << set << static_cast<int>(BackendKind::cpu);
  }
}

void VerifyTest::goldensPass() {
  QFETCH(QString, set);
  QFETCH(int, backend);
  const std::filesystem::path folder =
      std::filesystem::path(EYRIE_SOURCE_DIR) / "tests/golden" / set.toStdString();
  QVERIFY(allPassed(verify::checkGolden(folder, static_cast<BackendKind>(backend))));
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
  const QStringList sets = golden.entryList(QDir::Dirs | QDir::NoDotAndDotDot);
  QCOMPARE(sets.size(), 6);
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
