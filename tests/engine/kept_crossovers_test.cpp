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
  void onlyWhatMakesSenseIsUsed_data();
  void onlyWhatMakesSenseIsUsed();
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

void KeptCrossoversTest::onlyWhatMakesSenseIsUsed_data() {
  QTest::addColumn<QByteArray>("kept");
  QTest::addColumn<bool>("used");
  QTest::newRow("five numbers") << QByteArray(R"({"F32": 9, "F16": 9, "BF16": 9, "INT8": 9, "INT4": 9})")
                                << true;
  QTest::newRow("no object") << QByteArray("5") << false;
  QTest::newRow("a type missing") << QByteArray(R"({"F32": 9, "F16": 9, "BF16": 9, "INT8": 9})") << false;
  QTest::newRow("a word") << QByteArray(R"({"F32": 9, "F16": 9, "BF16": "9", "INT8": 9, "INT4": 9})")
                          << false;
  QTest::newRow("a fraction") << QByteArray(R"({"F32": 9, "F16": 9, "BF16": 9.5, "INT8": 9, "INT4": 9})")
                              << false;
  QTest::newRow("none") << QByteArray(R"({"F32": 9, "F16": 9, "BF16": 0, "INT8": 9, "INT4": 9})") << false;
  QTest::newRow("negative") << QByteArray(R"({"F32": 9, "F16": 9, "BF16": -9, "INT8": 9, "INT4": 9})")
                            << false;
  QTest::newRow("too many")
      << QByteArray(R"({"F32": 9, "F16": 9, "BF16": 9, "INT8": 9, "INT4": 18446744073709551615})") << false;
}

void KeptCrossoversTest::onlyWhatMakesSenseIsUsed() {
  QFETCH(QByteArray, kept);
  QFETCH(bool, used);
  writeFile(folder() / "crossovers.json", "{\"" + kCard + "\": " + kept.toStdString() + "}");
  QCOMPARE(keptCrossover(folder(), kCard).has_value(), used);
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
