#include "engine/kept_crossovers.h"

#include <QTemporaryDir>
#include <QtTest>

#include "engine/checkpoint/file_io.h"
#include "engine/error.h"

using namespace eyrie::engine;

namespace {

const std::string kCard = "cuda · NVIDIA H200";
const std::string kBare = "cuda · NVIDIA H200 · without cuBLAS";

}  // namespace

class KeptCrossoversTest : public QObject {
  Q_OBJECT

 private slots:
  void eachCardHasItsOwn();
  void aFolderIsMade();
  void whatMakesNoSenseIsNotUsed_data();
  void whatMakesNoSenseIsNotUsed();
  void aDamagedFileIsReplaced();
  void withoutAFolderNothingIsKept();

 private:
  std::filesystem::path folder() const { return dir_.path().toStdString(); }
  QTemporaryDir dir_;
};

void KeptCrossoversTest::eachCardHasItsOwn() {
  QVERIFY(!keptCrossover(folder(), kCard));
  keepCrossover(folder(), kCard, {5, 6, 7, 8, 9});
  keepCrossover(folder(), kBare, {129, 64, 64, 64, 64});
  keepCrossover(folder(), kCard, {15, 16, 17, 18, 19});
  const auto card = keptCrossover(folder(), kCard);
  QVERIFY(card);
  QCOMPARE(card->f32, 15);
  QCOMPARE(card->f16, 16);
  QCOMPARE(card->bf16, 17);
  QCOMPARE(card->int8, 18);
  QCOMPARE(card->int4, 19);
  QCOMPARE(keptCrossover(folder(), kBare)->f32, 129);
  QVERIFY(!keptCrossover(folder(), "cuda · another"));
}

void KeptCrossoversTest::aFolderIsMade() {
  const std::filesystem::path deep = folder() / "a" / "b";
  keepCrossover(deep, kCard, {});
  QVERIFY(keptCrossover(deep, kCard));
}

void KeptCrossoversTest::whatMakesNoSenseIsNotUsed_data() {
  QTest::addColumn<QByteArray>("kept");
  QTest::newRow("no object") << QByteArray("5");
  QTest::newRow("a type missing") << QByteArray(R"({"f32": 9, "f16": 9, "bf16": 9, "int8": 9})");
  QTest::newRow("a word") << QByteArray(R"({"f32": 9, "f16": 9, "bf16": "9", "int8": 9, "int4": 9})");
  QTest::newRow("a fraction") << QByteArray(R"({"f32": 9, "f16": 9, "bf16": 9.5, "int8": 9, "int4": 9})");
  QTest::newRow("none") << QByteArray(R"({"f32": 9, "f16": 9, "bf16": 0, "int8": 9, "int4": 9})");
  QTest::newRow("negative") << QByteArray(R"({"f32": 9, "f16": 9, "bf16": -9, "int8": 9, "int4": 9})");
  QTest::newRow("too many") << QByteArray(
      R"({"f32": 9, "f16": 9, "bf16": 9, "int8": 9, "int4": 18446744073709551615})");
}

void KeptCrossoversTest::whatMakesNoSenseIsNotUsed() {
  QFETCH(QByteArray, kept);
  writeFile(folder() / "crossovers.json", "{\"" + kCard + "\": " + kept.toStdString() + "}");
  QVERIFY(!keptCrossover(folder(), kCard));
}

void KeptCrossoversTest::aDamagedFileIsReplaced() {
  for (const char* text : {"{\"cuda", "[1, 2]", "\"x\"", "\xff\xfe"}) {
    writeFile(folder() / "crossovers.json", text);
    QVERIFY(!keptCrossover(folder(), kCard));
    keepCrossover(folder(), kCard, {5, 6, 7, 8, 9});
    QCOMPARE(keptCrossover(folder(), kCard)->bf16, 7);
  }
}

void KeptCrossoversTest::withoutAFolderNothingIsKept() {
  QVERIFY(!keptCrossover({}, kCard));
  QVERIFY_EXCEPTION_THROWN(keepCrossover({}, kCard, {}), Error);
  // Where a file stands in the folder's place.
  writeFile(folder() / "file", "x");
  QVERIFY(!keptCrossover(folder() / "file", kCard));
  QVERIFY_EXCEPTION_THROWN(keepCrossover(folder() / "file", kCard, {}), Error);
}

QTEST_APPLESS_MAIN(KeptCrossoversTest)
#include "kept_crossovers_test.moc"
