// score along a text: sums by position, a run that was killed and goes on, two models on one text.
#include <QDateTime>
#include <QElapsedTimer>
#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QTest>
#include <cmath>
#include <csignal>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

namespace {

// Readable, long enough for several chunks, in the tree and none of the training's.
QByteArray someText(qsizetype bytes) {
  QFile readme(QStringLiteral(EYRIE_SOURCE_DIR "/README.md"));
  const QByteArray once = readme.open(QIODevice::ReadOnly) ? readme.readAll() : QByteArray();
  if (once.isEmpty()) return {};
  return once.repeated(bytes / once.size() + 1).left(bytes);
}

double sumOver(const QJsonArray& buckets, const char* field, bool weighted) {
  double sum = 0;
  for (const QJsonValue& bucket : buckets)
    sum += bucket[field].toDouble() * (weighted ? bucket["tokens"].toDouble() : 1);
  return sum;
}

}  // namespace

class CliScoreLongTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase();
  void bucketsAddUpToTheWhole_data();
  void bucketsAddUpToTheWhole();
  void textInPiecesScoresAsItsTokensDo();
  void aKilledRunGoesOnToTheSameFiles();
  void aCancelledRunGoesOnToTheSameFiles();
  void whatDiffersFromTheCheckpointIsNamed_data();
  void whatDiffersFromTheCheckpointIsNamed();
  void aShortenedFileOfTokensIsRefused();
  void anotherTextIsRefused();
  void aLongerTextGoesOn();
  void progressIsToldWhenAsked();
  void aModelAgainstItselfDiffersInNothing();
  void divergenceIsFoundForEachBucket();
  void memoryDoesNotGrowWithTheText();

 private:
  QStringList resumable(const Cli& cli) const;
  // Starts `arguments`, ends it by `signal` once there is a checkpoint.
  int interrupted(const Cli& cli, const QStringList& arguments, int signal) const;
  QString textFile_;
  Cli shared_;
};

void CliScoreLongTest::initTestCase() {
  if (builtInModel().isEmpty()) QSKIP("the tree has no built-in model");
  textFile_ = shared_.write("text.txt", someText(10'000));
}

QStringList CliScoreLongTest::resumable(const Cli& cli) const {
  return {"score",
          "--model",
          builtInModel(),
          "--text-file",
          textFile_,
          "--chunk",
          "64",
          "--per-token",
          cli.file("o.jsonl"),
          "--state",
          cli.file("o.safetensors"),
          "--checkpoint",
          cli.file("run.ckpt"),
          "--checkpoint-every",
          "0"};
}

int CliScoreLongTest::interrupted(const Cli& cli, const QStringList& arguments, int signal) const {
  QProcess process;
  process.setProcessEnvironment(cleanEnvironment(cli.file(".")));
  process.start(cliPath(), arguments);
  process.closeWriteChannel();
  const QString checkpoint = cli.file("run.ckpt");
  const qint64 before = QFileInfo(checkpoint).lastModified().toMSecsSinceEpoch();
  QElapsedTimer timer;
  timer.start();
  // Another checkpoint than the one it began with.
  while (process.state() != QProcess::NotRunning && timer.elapsed() < 60'000 &&
         (!QFile::exists(checkpoint) || QFileInfo(checkpoint).lastModified().toMSecsSinceEpoch() == before)) {
    process.waitForFinished(2);
  }
  if (process.state() == QProcess::NotRunning) return 0;
  ::kill(pid_t(process.processId()), signal);
  process.waitForFinished(60'000);
  return process.exitStatus() == QProcess::CrashExit ? -1 : process.exitCode();
}

void CliScoreLongTest::bucketsAddUpToTheWhole_data() {
  QTest::addColumn<QStringList>("options");
  QTest::addColumn<QVector<int>>("from");
  QTest::newRow("powers of two") << QStringList() << QVector<int>{1, 2, 4, 8, 16, 32, 64};
  QTest::newRow("30 each") << QStringList{"--bucket", "30"} << QVector<int>{0, 30, 60};
}

void CliScoreLongTest::bucketsAddUpToTheWhole() {
  QFETCH(QStringList, options);
  QFETCH(QVector<int>, from);
  const QString folder = goldenFolder("griffin-tiny");
  const CliResult result = shared_.run(
      QStringList{"score", "--model", folder, "--tokens-file", folder + "/tokens.json"} + options);
  COMPARE_CODE(result, 0);
  const QJsonObject line = result.lines().value(0);
  const QJsonArray buckets = line["buckets"].toArray();
  QVector<int> found;
  for (const QJsonValue& bucket : buckets) found.append(bucket["from"].toInt());
  QCOMPARE(found, from);
  for (qsizetype i = 0; i + 1 < buckets.size(); ++i) QCOMPARE(buckets[i]["to"], buckets[i + 1]["from"]);
  QCOMPARE(sumOver(buckets, "tokens", false), 79.0);
  QVERIFY(std::abs(sumOver(buckets, "loss", true) / -line["logprob_sum"].toDouble() - 1) < 1e-12);
  for (const QJsonValue& bucket : buckets)
    QVERIFY(std::abs(std::log(bucket["perplexity"].toDouble()) - bucket["loss"].toDouble()) < 1e-9);
}

// The tokens of a text in pieces, given as a list, have the same score.
void CliScoreLongTest::textInPiecesScoresAsItsTokensDo() {
  const QByteArray text = someText(80'000);
  const CliResult fromText =
      shared_.run({"score", "--model", builtInModel(), "--text-file", shared_.write("long.txt", text),
                   "--per-token", shared_.file("long.jsonl")});
  COMPARE_CODE(fromText, 0);
  QCOMPARE(fromText.lines().value(0)["bytes"].toInteger(), qint64(text.size()));
  CliResult perToken;
  perToken.out = shared_.read("long.jsonl");
  QByteArray list;
  QByteArray joined;
  for (const QJsonObject& line : perToken.lines()) {
    list += (list.isEmpty() ? "[" : ",") + QByteArray::number(line["token"].toInt());
    if (line["position"].toInt() > 0) joined += line["text"].toString().toUtf8();
  }
  QVERIFY2(joined.startsWith("⟨23⟩ Eyrie"), joined.left(40).constData());  // that vocabulary has no #
  const CliResult fromTokens = shared_.run(
      {"score", "--model", builtInModel(), "--tokens-file", shared_.write("long.json", list + "]")});
  COMPARE_CODE(fromTokens, 0);
  QCOMPARE(fromTokens.lines().value(0)["logprob_sum"].toDouble(),
           fromText.lines().value(0)["logprob_sum"].toDouble());
}

void CliScoreLongTest::aKilledRunGoesOnToTheSameFiles() {
  const Cli whole;
  const CliResult expected = whole.run(resumable(whole));
  COMPARE_CODE(expected, 0);
  QVERIFY2(!QFile::exists(whole.file("run.ckpt")), "nothing is left to go on from");
  const Cli cli;
  int killed = 0;
  for (int i = 0; i < 4; ++i) killed += interrupted(cli, resumable(cli), SIGKILL) == -1 ? 1 : 0;
  QVERIFY2(killed > 1, "the text is too short to be interrupted");
  QVERIFY(!QFile::exists(cli.file("o.jsonl")));
  const CliResult found = cli.run(resumable(cli));
  COMPARE_CODE(found, 0);
  QVERIFY2(found.err.contains("going on after"), found.text());
  QCOMPARE(found.out, expected.out);
  QVERIFY(whole.read("o.jsonl").size() > 300'000);
  QVERIFY(cli.read("o.jsonl") == whole.read("o.jsonl"));
  QVERIFY(cli.read("o.safetensors") == whole.read("o.safetensors"));
  QVERIFY(!QFile::exists(cli.file("run.ckpt")) && !QFile::exists(cli.file("o.jsonl.part")));
}

void CliScoreLongTest::aCancelledRunGoesOnToTheSameFiles() {
  const Cli whole;
  COMPARE_CODE(whole.run(resumable(whole)), 0);
  const Cli cli;
  // No time passes between checkpoints: the one that is found is that of Ctrl-C.
  QCOMPARE(interrupted(cli, resumable(cli), SIGINT), 130);
  QVERIFY(QFile::exists(cli.file("run.ckpt")));
  COMPARE_CODE(cli.run(resumable(cli)), 0);
  QVERIFY(cli.read("o.jsonl") == whole.read("o.jsonl"));
  QVERIFY(cli.read("o.safetensors") == whole.read("o.safetensors"));
}

void CliScoreLongTest::whatDiffersFromTheCheckpointIsNamed_data() {
  QTest::addColumn<QStringList>("more");
  QTest::addColumn<QByteArray>("names");
  QTest::newRow("chunk") << QStringList{"--chunk", "32"}
                         << QByteArray("--chunk: expected '32' as asked for now, found '64'");
  QTest::newRow("bucket") << QStringList{"--bucket", "10"} << QByteArray("--bucket: expected '10'");
  QTest::newRow("model") << QStringList{"--model", "hawk"} << QByteArray("model: expected");
  QTest::newRow("threads") << QStringList{"--threads", "1"} << QByteArray("backend: expected");
  QTest::newRow("file of every token")
      << QStringList{"--per-token", "other.jsonl"} << QByteArray("--per-token: expected");
}

void CliScoreLongTest::whatDiffersFromTheCheckpointIsNamed() {
  QFETCH(QStringList, more);
  QFETCH(QByteArray, names);
  const Cli cli;
  const QStringList with = resumable(cli) + QStringList{"--threads", "2"};
  QCOMPARE(interrupted(cli, with, SIGKILL), -1);
  QStringList changed = with;
  const auto at = changed.indexOf(more[0]);
  if (at < 0)
    changed += more;
  else
    changed[at + 1] = more[1];
  const CliResult result = cli.run(changed);
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("run.ckpt: " + names), result.text());
  QCOMPARE(result.err.count('\n'), 1);
}

void CliScoreLongTest::aShortenedFileOfTokensIsRefused() {
  const Cli cli;
  QCOMPARE(interrupted(cli, resumable(cli), SIGKILL), -1);
  QVERIFY(QFile::resize(cli.file("o.jsonl.part"), 10));
  const CliResult result = cli.run(resumable(cli));
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("o.jsonl.part: expected at least the") && result.err.contains("found 10"),
           result.text());
}

void CliScoreLongTest::anotherTextIsRefused() {
  const Cli cli;
  QCOMPARE(interrupted(cli, resumable(cli), SIGKILL), -1);
  for (const auto& [text, names] :
       {std::pair("Another text" + someText(10'000), "tokens as then, found others"),
        std::pair(QByteArray("short"), "found only")}) {
    QStringList changed = resumable(cli);
    changed[changed.indexOf("--text-file") + 1] = cli.write("other.txt", text);
    const CliResult result = cli.run(changed);
    COMPARE_CODE(result, 1);
    QVERIFY2(result.err.contains("run.ckpt: expected the same") && result.err.contains(names), result.text());
  }
}

// What was read is the same: the result is that of the longer text.
void CliScoreLongTest::aLongerTextGoesOn() {
  const Cli cli;
  QCOMPARE(interrupted(cli, resumable(cli), SIGKILL), -1);
  QStringList longer = resumable(cli);
  longer[longer.indexOf("--text-file") + 1] = cli.write("longer.txt", someText(11'000));
  const CliResult found = cli.run(longer);
  COMPARE_CODE(found, 0);
  QVERIFY2(found.err.contains("going on"), found.text());
  QCOMPARE(found.out, cli.run(longer).out);
}

void CliScoreLongTest::progressIsToldWhenAsked() {
  const QStringList score = {"score",
                             "--model",
                             builtInModel(),
                             "--text-file",
                             shared_.write("p.txt", someText(15'000)),
                             "--threads",
                             "1",
                             "--chunk",
                             "8"};
  const CliResult quiet = shared_.run(score);
  COMPARE_CODE(quiet, 0);
  QVERIFY2(quiet.err.isEmpty(), quiet.text());
  const CliResult told = shared_.run(score + QStringList{"--progress"});
  COMPARE_CODE(told, 0);
  QCOMPARE(told.out, quiet.out);
  const QList<QByteArray> lines = told.err.trimmed().split('\n');
  for (const QByteArray& line : lines) QVERIFY2(line.contains(" tokens/s, perplexity "), told.text());
  const int tokens = told.lines().value(0)["tokens"].toInt();
  QVERIFY2(lines.last().startsWith(QByteArray::number(tokens) + " tokens, "), told.text());
}

void CliScoreLongTest::aModelAgainstItselfDiffersInNothing() {
  const CliResult result = shared_.run({"score", "--model", "griffin", "--text-file",
                                        shared_.write("a.txt", someText(8'000)), "--against", "griffin"});
  COMPARE_CODE(result, 0);
  const QJsonObject line = result.lines().value(0);
  QCOMPARE(line["against"]["perplexity"].toDouble(), line["perplexity"].toDouble());
  QCOMPARE(line["against"]["perplexity_change"].toDouble(), 0.0);
  QCOMPARE(line["against"]["kl"].toDouble(), 0.0);
  QVERIFY(line["buckets"].toArray().size() > 8);
}

void CliScoreLongTest::divergenceIsFoundForEachBucket() {
  const QString text = shared_.write("b.txt", someText(8'000));
  const CliResult both = shared_.run(
      {"score", "--model", "griffin", "--text-file", text, "--against", "hawk", "--chunk", "100"});
  COMPARE_CODE(both, 0);
  const CliResult hawk = shared_.run({"score", "--model", "hawk", "--text-file", text, "--chunk", "100"});
  COMPARE_CODE(hawk, 0);
  const QJsonObject line = both.lines().value(0);
  const QJsonObject alone = hawk.lines().value(0);
  QCOMPARE(line["against"]["logprob_sum"].toDouble(), alone["logprob_sum"].toDouble());
  const QJsonArray buckets = line["buckets"].toArray();
  for (qsizetype i = 0; i < buckets.size(); ++i) {
    QVERIFY(buckets[i]["kl"].toDouble() > 0);
    QCOMPARE(buckets[i]["against_perplexity"].toDouble(), alone["buckets"][i]["perplexity"].toDouble());
  }
  const double scored = sumOver(buckets, "tokens", false);
  QVERIFY(std::abs(sumOver(buckets, "kl", true) / scored / line["against"]["kl"].toDouble() - 1) < 1e-9);
  const CliResult refused = shared_.run(
      {"score", "--model", "griffin", "--text-file", text, "--against", goldenFolder("griffin-tiny")});
  COMPARE_CODE(refused, 1);
  QVERIFY2(refused.err.contains("--against griffin-tiny: expected the 4096 tokens of griffin"),
           refused.text());
}

void CliScoreLongTest::memoryDoesNotGrowWithTheText() {
  const auto peakKiB = [&](qsizetype bytes) {
    QProcess process;
    process.setProcessEnvironment(cleanEnvironment(shared_.file(".")));
    process.start(cliPath(),
                  {"score", "--model", "griffin", "--text-file", shared_.write("m.txt", someText(bytes))});
    qint64 peak = 0;
    while (!process.waitForFinished(5) && process.state() != QProcess::NotRunning) {
      QFile status(QStringLiteral("/proc/%1/status").arg(process.processId()));
      if (!status.open(QIODevice::ReadOnly)) continue;
      for (const QByteArray& line : status.readAll().split('\n')) {
        if (line.startsWith("VmHWM:")) peak = line.mid(6, line.size() - 9).trimmed().toLongLong();
      }
    }
    return process.exitCode() == 0 ? peak : 0;
  };
  const qint64 small = peakKiB(200'000);
  const qint64 large = peakKiB(400'000);
  QVERIFY2(small > 1000 && large > 1000, "the peak was not seen");
  // To find all tokens at once takes eighty times as much as the text: 16 MiB more.
  QVERIFY2(large < small + 4096,
           qPrintable(QString("%1 KiB for 200 KB of text, %2 KiB for 400 KB").arg(small).arg(large)));
}

QTEST_GUILESS_MAIN(CliScoreLongTest)
#include "cli_score_long_test.moc"
