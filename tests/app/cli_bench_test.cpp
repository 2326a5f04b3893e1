// eyrie-cli bench: the parts that were named and no others, each with its figures. How fast is nobody's test.
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTest>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

class CliBenchTest : public QObject {
  Q_OBJECT

 private slots:
  void partsNamedAreMeasured();
  void withoutPartsThereIsASelection();

 private:
  Cli cli_;
};

void CliBenchTest::partsNamedAreMeasured() {
  const CliResult result = cli_.run({"bench", "--model", goldenFolder("griffin-tiny"), "--prefill", "4,8",
                                     "--decode", "3", "--traced", "2", "--scan", "16", "--snapshot",
                                     "--rewind", "2000", "--context", "1000000", "--repeats", "3", "--json"});
  COMPARE_CODE(result, 0);
  const QJsonObject report = QJsonDocument::fromJson(result.out).object();
  const QJsonObject machine = report["machine"].toObject();
  QVERIFY2(machine["read_gb_per_s"].toDouble() > 0 && machine["gemm_gflops"].toDouble() > 0, result.text());
  QStringList names;
  for (const QJsonValue value : report["results"].toArray()) {
    const QJsonObject part = value.toObject();
    const QString name = part["name"].toString();
    names += name + ' ' + QString::number(part["tokens"].toInt());
    const bool isSnapshot = name == "snapshot";
    QCOMPARE(part["batch"].toInt(), 1);
    QCOMPARE(part["runs"].toInt(), 3);
    const bool isRewind = name == "rewind";
    const int tokens = part["tokens"].toInt();
    QCOMPARE(part["context"].toInt(), isRewind ? 1152 + tokens : name == "scan" ? 0 : 1000000);
    QCOMPARE(part["tokens_per_s"].isNull(), tokens == 0);
    QCOMPARE(part["percent_of_ceiling"].isNull(), isSnapshot || isRewind);
    QVERIFY2(part["gb_per_s"].toDouble() > 0, qPrintable(name));
    QVERIFY2(part["ms_least"].toDouble() <= part["ms"].toDouble(), qPrintable(name));
    QVERIFY2(part["ms"].toDouble() <= part["ms_most"].toDouble(), qPrintable(name));
  }
  QCOMPARE(names,
           (QStringList{"prefill 4", "prefill 8", "decode 3", "decode, no trace 2", "decode, summary trace 2",
                        "decode, full trace 2", "scan 16", "snapshot 0", "rewind 0", "rewind 63"}));
}

void CliBenchTest::withoutPartsThereIsASelection() {
  const CliResult result = cli_.run({"bench", "--model", goldenFolder("hawk-tiny"), "--repeats", "1"});
  COMPARE_CODE(result, 0);
  QVERIFY2(result.out.contains("ceilings: read "), result.text());
  QVERIFY2(result.out.contains("% of read bandwidth"), result.text());
  QVERIFY2(result.out.contains("% of f32 GEMM"), result.text());
}

QTEST_GUILESS_MAIN(CliBenchTest)
#include "cli_bench_test.moc"
