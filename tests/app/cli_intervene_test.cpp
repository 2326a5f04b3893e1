// --intervene: the same rules for every command that computes, listed wherever results are.
#include <QJsonArray>
#include <QJsonDocument>
#include <QTest>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

class CliInterveneTest : public QObject {
  Q_OBJECT

 private slots:
  void rulesAreListedInEveryResult_data();
  void rulesAreListedInEveryResult();
  void rulesChangeWhatIsComputed();
  void aChangedModelIsComparedWithItself();
  void rulesThatNeverActChangeNothing();
  void tracesSayWithWhatTheyWereMade();
  void inspectChecksRulesWithoutComputing();
  void sessionsKeepStatesApart();

 private:
  Cli cli_;
};

namespace {

const QString kSpec = "layer 0 state*=.5; mlp = 0 @3-9 ;head 1 off";

QJsonArray canonical() {
  return {"layer 0 state *= 0.5", "mlp off @3-9", "head 1 off"};
}

QStringList with(const QString& spec, const QStringList& arguments) {
  return arguments + QStringList{"--model", goldenFolder("griffin-tiny"), "--intervene", spec};
}

const QStringList kTokens{"--tokens", "2,5,9,11,7,3,8,20,31"};

}  // namespace

void CliInterveneTest::rulesAreListedInEveryResult_data() {
  QTest::addColumn<QStringList>("arguments");
  QTest::newRow("generate") << QStringList{"generate", "--json", "--max-tokens", "2"} + kTokens;
  QTest::newRow("score") << QStringList{"score"} + kTokens;
  QTest::newRow("trace") << QStringList{"trace", "--max-tokens", "2", "--out", cli_.file("listed.npz")} +
                                kTokens;
  QTest::newRow("inspect") << QStringList{"inspect", "--json"};
  QTest::newRow("bench") << QStringList{"bench", "--json", "--decode", "2", "--repeats", "1"};
}

void CliInterveneTest::rulesAreListedInEveryResult() {
  QFETCH(QStringList, arguments);
  const CliResult result = cli_.run(with(kSpec, arguments));
  COMPARE_CODE(result, 0);
  QCOMPARE(result.lines().last()["interventions"].toArray(), canonical());
  QVERIFY2(result.err.contains("[intervention: layer 0 state *= 0.5]\n[intervention: mlp off @3-9]\n"
                               "[intervention: head 1 off]\n"),
           result.text());
}

void CliInterveneTest::rulesChangeWhatIsComputed() {
  const CliResult plain = cli_.run(with("", QStringList{"score"} + kTokens));
  const CliResult changed = cli_.run(with(kSpec, QStringList{"score"} + kTokens));
  COMPARE_CODE(plain, 0);
  COMPARE_CODE(changed, 0);
  QVERIFY(plain.lines()[0]["logprob_sum"].toDouble() != changed.lines()[0]["logprob_sum"].toDouble());
  QVERIFY(plain.lines()[0]["interventions"].toArray().isEmpty());
  QVERIFY2(plain.err.isEmpty(), plain.text());
}

// --against reads plainly, or with the rules of --against-intervene.
void CliInterveneTest::aChangedModelIsComparedWithItself() {
  const QStringList score = QStringList{"score", "--against", goldenFolder("griffin-tiny")} + kTokens;
  const QJsonObject plain = cli_.run(with("", score)).lines().value(0);
  const QJsonObject changed = cli_.run(with(kSpec, score)).lines().value(0);
  QCOMPARE(changed["against"]["perplexity"].toDouble(), plain["perplexity"].toDouble());
  QVERIFY(changed["against"]["kl"].toDouble() > 0);
  const QJsonObject same =
      cli_.run(with(kSpec, score + QStringList{"--against-intervene", kSpec})).lines().value(0);
  QCOMPARE(same["against"]["kl"].toDouble(), 0.0);
  QCOMPARE(same["against"]["interventions"].toArray(), canonical());
  const CliResult alone = cli_.run(with("", QStringList{"score", "--against-intervene", kSpec} + kTokens));
  COMPARE_CODE(alone, 2);
  QVERIFY2(alone.err.contains("--against-intervene goes with --against"), alone.text());
}

void CliInterveneTest::rulesThatNeverActChangeNothing() {
  const QStringList score = QStringList{"score", "--logits"};
  COMPARE_CODE(cli_.run(with("", score + QStringList{cli_.file("a.npy")} + kTokens)), 0);
  COMPARE_CODE(cli_.run(with("block off @100-", score + QStringList{cli_.file("b.npy")} + kTokens)), 0);
  COMPARE_CODE(cli_.run(with("block off @8-", score + QStringList{cli_.file("c.npy")} + kTokens)), 0);
  QVERIFY(!cli_.read("a.npy").isEmpty());
  QCOMPARE(cli_.read("b.npy"), cli_.read("a.npy"));
  QVERIFY(cli_.read("c.npy") != cli_.read("a.npy"));
}

void CliInterveneTest::tracesSayWithWhatTheyWereMade() {
  const QString file = cli_.file("trace.csv");
  COMPARE_CODE(cli_.run(with(kSpec, QStringList{"trace", "--max-tokens", "2", "--out", file} + kTokens)), 0);
  const auto meta = QJsonDocument::fromJson(cli_.read("trace.csv.meta.json")).object();
  QCOMPARE(meta["interventions"].toArray(), canonical());
}

void CliInterveneTest::inspectChecksRulesWithoutComputing() {
  const CliResult result = cli_.run(with("layer 9 mlp off", {"inspect"}));
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("intervention 1, 'layer 9 mlp off': expected layers from 0 to 5, found 9"),
           result.text());
}

// The kept state names the rules it was read with, so that nothing else goes on from it.
void CliInterveneTest::sessionsKeepStatesApart() {
#ifndef EYRIE_STORE
  QSKIP("this build has no session store");
#endif
  const QString model = builtInModel();
  if (model.isEmpty()) QSKIP("no built-in model here");
  const QString store = cli_.file("rules.db");
  const auto fingerprintAfter = [&](const QString& prompt, const QStringList& more) {
    const QStringList arguments{"generate", "--model", model, "--prompt",     prompt, "--store",
                                store,      "--seed",  "1",   "--max-tokens", "4"};
    const CliResult said = cli_.run(arguments + more);
    if (said.code != 0) qWarning("%s", said.text().constData());
    cli_.run({"session", "export", "1", "--out", cli_.file("rules.eyrie"), "--store", store});
    return QJsonDocument::fromJson(cli_.read("rules.eyrie"))
        .object()["snapshot"]
        .toObject()["fingerprint"]
        .toString();
  };
  const QStringList rules{"--intervene", "layer 0 state *= 0.5"};
  const QStringList again{"--session", "1"};
  const QString changed = fingerprintAfter("Once upon a time", rules);
  QVERIFY2(changed.contains(" changed "), qPrintable(changed));
  QCOMPARE(fingerprintAfter(" and then", again + rules), changed);
  const QString own = fingerprintAfter(" at last", again);
  QVERIFY2(!own.isEmpty() && changed.startsWith(own + " "), qPrintable(own));
}

QTEST_GUILESS_MAIN(CliInterveneTest)
#include "cli_intervene_test.moc"
