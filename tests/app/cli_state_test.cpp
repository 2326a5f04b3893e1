// eyrie-cli state, and going on from a saved one: nothing is read twice, nothing of another model is taken.
#include <QJsonArray>
#include <QTest>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

class CliStateTest : public QObject {
  Q_OBJECT

 private slots:
  void savedStateGoesOnAsItsPromptWould_data();
  void savedStateGoesOnAsItsPromptWould();
  void textFollowsASavedState();
  void stateOfScoreNeedsAnotherToken();
  void showSaysWhatItIs();
  void wordsOfAFileOrderNoTerminalAbout();
  void interventionsStayWithTheState();
  void goingOnWithOtherRulesIsSaid();
  void diffGoesLayerByLayer();
  void weightsOfTwoTypesAreComparedButNotMixed();
  void interpolationEndsInItsStates();
  void mixtureOfTwoPositionsGoesOn_data();
  void mixtureOfTwoPositionsGoesOn();
  void transplantTakesTheLayersAskedFor();
  void otherModelsAreRefusedByName();
  void impossibleWishesAreRefused_data();
  void impossibleWishesAreRefused();
  void pythonReadsStates();

 private:
  // A state of griffin-tiny after these tokens but the last.
  QString saved(const QString& name, const QString& tokens, const QString& set = "griffin-tiny") {
    const QString path = cli_.file(name);
    const CliResult result =
        cli_.run({"state", "save", "--model", goldenFolder(set), "--tokens", tokens, "--out", path});
    if (result.code != 0) qWarning("%s", result.text().constData());
    return path;
  }
  static QVector<int> tokensOf(const CliResult& result) {
    QVector<int> tokens;
    for (const QJsonObject& line : result.lines()) {
      if (line.contains("token")) tokens += line["token"].toInt();
    }
    return tokens;
  }
  QJsonObject diff(const QString& a, const QString& b) {
    const CliResult result = cli_.run({"state", "diff", a, b, "--json"});
    return result.code == 0 ? result.lines().value(0) : QJsonObject();
  }

  Cli cli_;
};

namespace {

const QString kA = "2,17,9,33,4,70,8,91,12,55,61,7,3,44";
const QString kB = "2,21,80,5,99,31,64,18,77,40,11,93,6,44";

}  // namespace

void CliStateTest::savedStateGoesOnAsItsPromptWould_data() {
  QTest::addColumn<QString>("set");
  for (const char* set : {"griffin-tiny", "hawk-tiny", "mqa-global"}) QTest::newRow(set) << QString(set);
}

void CliStateTest::savedStateGoesOnAsItsPromptWould() {
  QFETCH(QString, set);
  const QString state = saved(set, kA, set);
  for (const QString& more : {QString(), QString("13,14,15")}) {
    const auto generate = [&](const QStringList& from) {
      return cli_.run(QStringList{"generate", "--model", goldenFolder(set), "--max-tokens", "20", "--seed",
                                  "4", "--json"} +
                      from);
    };
    const CliResult whole = generate({"--tokens", more.isEmpty() ? kA : kA + "," + more});
    const CliResult going = generate(more.isEmpty() ? QStringList{"--state", state}
                                                    : QStringList{"--state", state, "--tokens", more});
    COMPARE_CODE(whole, 0);
    COMPARE_CODE(going, 0);
    QCOMPARE(tokensOf(going), tokensOf(whole));
    const int context = more.isEmpty() ? 14 : 17;
    QCOMPARE(whole.lines().last()["prompt_tokens"].toInt(), context);
    QCOMPARE(whole.lines().last()["read_tokens"].toInt(), context);
    QCOMPARE(going.lines().last()["prompt_tokens"].toInt(), context);
    QVERIFY2(going.lines().last()["read_tokens"].toInt() == context - 13, "thirteen are in the state");
  }
}

void CliStateTest::textFollowsASavedState() {
  const QString model = builtInModel();
  if (model.isEmpty()) QSKIP("no built-in model in this tree");
  const QString file = cli_.file("text.safetensors");
  COMPARE_CODE(cli_.run({"state", "save", "--model", model, "--prompt", "The old fox", "--out", file}), 0);
  const CliResult shown = cli_.run({"state", "show", file, "--json"});
  QCOMPARE(shown.lines()[0]["text"].toString(), QString("The old fox"));
  const CliResult more = cli_.run({"generate", "--model", model, "--state", file, "--prompt", " went home",
                                   "--max-tokens", "4", "--json"});
  COMPARE_CODE(more, 0);
  const QJsonObject last = more.lines().last();
  QCOMPARE(last["prompt_tokens"].toInt() - last["read_tokens"].toInt(), shown.lines()[0]["position"].toInt());
}

void CliStateTest::stateOfScoreNeedsAnotherToken() {
  const QString model = goldenFolder("griffin-tiny");
  const QString file = cli_.file("scored.safetensors");
  COMPARE_CODE(cli_.run({"score", "--model", model, "--tokens", kA, "--state", file}), 0);
  const CliResult alone = cli_.run({"generate", "--model", model, "--state", file});
  COMPARE_CODE(alone, 1);
  QVERIFY2(alone.err.contains("all 14 tokens are read"), alone.text());
  const CliResult going = cli_.run({"generate", "--model", model, "--state", file, "--tokens", "5",
                                    "--max-tokens", "9", "--seed", "1", "--json"});
  const CliResult whole = cli_.run(
      {"generate", "--model", model, "--tokens", kA + ",5", "--max-tokens", "9", "--seed", "1", "--json"});
  COMPARE_CODE(going, 0);
  QCOMPARE(tokensOf(going), tokensOf(whole));
}

void CliStateTest::showSaysWhatItIs() {
  const QString file = saved("show", kA);
  const CliResult json = cli_.run({"state", "show", file, "--json"});
  COMPARE_CODE(json, 0);
  const QJsonObject shown = json.lines()[0];
  QCOMPARE(shown["model"].toString(), QString("griffin-tiny"));
  QCOMPARE(shown["origin"].toString(), QString("read"));
  QCOMPARE(shown["position"].toInt(), 13);
  QCOMPARE(shown["tokens"].toArray().size(), 14);
  const CliResult inspected = cli_.run({"inspect", "--model", goldenFolder("griffin-tiny"), "--json"});
  QCOMPARE(shown["fingerprint"], inspected.lines()[0]["fingerprint"]);
  const QJsonObject config = inspected.lines()[0]["config"].toObject();
  QCOMPARE(shown["layers"].toArray().size(), config["num_hidden_layers"].toInt());
  const QJsonObject attention = shown["layers"].toArray()[2].toObject();
  QCOMPARE(attention["kind"].toString(), QString("local attention"));
  QCOMPARE(attention["keys"].toInt(), std::min(13, config["visible_keys"].toInt() - 1));
  QVERIFY(shown["layers"].toArray()[0].toObject()["h_norm"].toDouble() > 0);
  const CliResult text = cli_.run({"state", "show", file});
  COMPARE_CODE(text, 0);
  QVERIFY2(text.out.contains("13 (14 tokens, the last still to be read)"), text.text());
}

void CliStateTest::wordsOfAFileOrderNoTerminalAbout() {
  saved("good", kA);
  QByteArray bytes = cli_.read("good");
  // As long as what they replace: the file's offsets stay true.
  bytes.replace("griffin-tiny", "\\u001b[2J\302\2333");
  bytes.replace("\"read\"", "\"\177ead\"");
  const CliResult shown = cli_.run({"state", "show", cli_.write("bad", bytes)});
  COMPARE_CODE(shown, 0);
  QVERIFY2(shown.out.contains("model         ?[2J?3\n"), shown.text());
  QVERIFY2(shown.out.contains("made by       ?ead\n"), shown.text());
  for (const char* control : {"\033", "\177", "\302\233"})
    QVERIFY2(!shown.out.contains(control), shown.text());
}

void CliStateTest::interventionsStayWithTheState() {
  const QString model = goldenFolder("griffin-tiny");
  const QString rule = "layer 0 state *= 0.5; layer 3 mlp = 0";
  const QString changed = cli_.file("changed");
  const QString scored = cli_.file("scored");
  const QString mixed = cli_.file("mixed");
  const QString end = cli_.file("end");
  const QString moved = cli_.file("moved");
  const QString plain = saved("plain", kA);
  COMPARE_CODE(
      cli_.run({"state", "save", "--model", model, "--tokens", kA, "--intervene", rule, "--out", changed}),
      0);
  COMPARE_CODE(cli_.run({"score", "--model", model, "--tokens", kA, "--intervene", rule, "--state", scored}),
               0);
  COMPARE_CODE(cli_.run({"state", "interpolate", plain, changed, "--at", "0.5", "--out", mixed}), 0);
  COMPARE_CODE(cli_.run({"state", "interpolate", plain, changed, "--at", "0", "--out", end}), 0);
  COMPARE_CODE(
      cli_.run({"state", "transplant", "--into", changed, "--from", changed, "--layer", "1", "--out", moved}),
      0);
  const auto rulesOf = [&](const QString& file) {
    const CliResult shown = cli_.run({"state", "show", file, "--json"});
    return shown.lines().value(0)["interventions"].toArray();
  };
  for (const QString& file : {plain, end}) QCOMPARE(rulesOf(file), QJsonArray());
  for (const QString& file : {changed, scored, mixed, moved}) {
    QCOMPARE(rulesOf(file), QJsonArray({"layer 0 state *= 0.5", "layer 3 mlp off"}));
  }
  const CliResult text = cli_.run({"state", "show", changed});
  QVERIFY2(text.out.contains("interventions layer 0 state *= 0.5; layer 3 mlp off\n"), text.text());
}

void CliStateTest::goingOnWithOtherRulesIsSaid() {
  const QString model = goldenFolder("griffin-tiny");
  const QString rule = "layer 0 state off";
  const QString changed = cli_.file("changed");
  COMPARE_CODE(
      cli_.run({"state", "save", "--model", model, "--tokens", kA, "--intervene", rule, "--out", changed}),
      0);
  const auto notes = [&](const QString& state, const QStringList& more) {
    const CliResult going = cli_.run(
        QStringList{"generate", "--model", model, "--state", state, "--max-tokens", "2", "--json"} + more);
    return going.code == 0 ? going.err : "failed: " + going.err;
  };
  QCOMPARE(notes(changed, {}),
           QByteArray("[state read with layer 0 state off; going on with no interventions]\n"));
  QVERIFY(notes(saved("plain", kA), {"--intervene", rule})
              .contains("[state read with no interventions; going on with layer 0 state off]"));
  QVERIFY(!notes(changed, {"--intervene", rule}).contains("going on"));
  QCOMPARE(notes(saved("plain", kA), {}), QByteArray());
}

void CliStateTest::diffGoesLayerByLayer() {
  const QString a = saved("a", kA);
  const QString b = saved("b", kB);
  const QJsonArray none = diff(a, a)["layers"].toArray();
  QVERIFY(!none.isEmpty());
  const QJsonArray layers = diff(a, b)["layers"].toArray();
  QCOMPARE(layers.size(), none.size());
  for (int i = 0; i < layers.size(); ++i) {
    const bool recurrent = layers[i].toObject()["kind"].toString() == "recurrent";
    const char* what = recurrent ? "h" : "keys";
    QCOMPARE(none[i].toObject()[what].toObject()["difference"].toDouble(-1), 0.0);
    const QJsonObject figures = layers[i].toObject()[what].toObject();
    QVERIFY(figures["relative"].toDouble() > 0.01 && std::abs(figures["cosine"].toDouble()) < 1);
    QCOMPARE(layers[i].toObject()["h_blocks"].toArray().size(), recurrent ? 16 : 0);
  }
  const CliResult text = cli_.run({"state", "diff", a, b});
  COMPARE_CODE(text, 0);
  QVERIFY2(text.out.count('\n') == layers.size() + 1 && text.out.contains("keys in common"), text.text());
}

void CliStateTest::weightsOfTwoTypesAreComparedButNotMixed() {
  const QString model = goldenFolder("griffin-tiny");
  const QString stored = saved("stored", kA);
  const QString int8 = cli_.file("int8");
  COMPARE_CODE(
      cli_.run({"state", "save", "--model", model, "--dtype", "int8", "--tokens", kA, "--out", int8}), 0);
  const QJsonObject report = diff(stored, int8);
  QCOMPARE(report["b"].toObject()["fingerprint"].toString(),
           report["a"].toObject()["fingerprint"].toString() + "-int8");
  const double apart = report["layers"].toArray()[0].toObject()["h"].toObject()["relative"].toDouble();
  QVERIFY2(apart > 0 && apart < 0.1, qPrintable(QString::number(apart)));
  const CliResult text = cli_.run({"state", "diff", stored, int8});
  COMPARE_CODE(text, 0);
  QVERIFY2(text.out.startsWith("one model in two types: "), text.text());
  const CliResult mixed =
      cli_.run({"state", "interpolate", stored, int8, "--at", "0.5", "--out", cli_.file("mixed")});
  COMPARE_CODE(mixed, 1);
  QVERIFY2(mixed.err.contains("model fingerprint: expected"), mixed.text());
}

void CliStateTest::interpolationEndsInItsStates() {
  const QString a = saved("a", kA);
  const QString b = saved("b", kB);
  const QString mixed = cli_.file("mixed");
  const auto distance = [&](const QString& one, const QString& other) {
    double sum = 0;
    for (const QJsonValue layer : diff(one, other)["layers"].toArray()) {
      for (const char* what : {"h", "tail", "keys", "values"}) {
        sum += layer.toObject()[what].toObject()["difference"].toDouble();
      }
    }
    return sum;
  };
  const double apart = distance(a, b);
  QVERIFY(apart > 0);
  for (const double t : {0.0, 0.25, 1.0}) {
    COMPARE_CODE(cli_.run({"state", "interpolate", a, b, "--at", QString::number(t), "--out", mixed}), 0);
    QVERIFY(std::abs(distance(mixed, a) - t * apart) < 1e-4 * apart);
    QVERIFY(std::abs(distance(mixed, b) - (1 - t) * apart) < 1e-4 * apart);
    const auto tokensOf = [&](const QString& file) {
      return cli_.run({"state", "show", file, "--json"}).lines()[0]["tokens"].toArray();
    };
    QCOMPARE(tokensOf(mixed), tokensOf(t == 1 ? b : a));
  }
  const CliResult going =
      cli_.run({"generate", "--model", goldenFolder("griffin-tiny"), "--state", mixed, "--max-tokens", "3"});
  COMPARE_CODE(going, 0);
}

void CliStateTest::mixtureOfTwoPositionsGoesOn_data() {
  QTest::addColumn<bool>("laterFirst");
  QTest::addColumn<QString>("at");
  QTest::addColumn<bool>("standsLater");
  QTest::newRow("the earlier itself") << false << "0" << false;
  QTest::newRow("between") << false << "0.5" << true;
  QTest::newRow("the later itself") << false << "1" << true;
  QTest::newRow("the later itself, first") << true << "0" << true;
  QTest::newRow("between, the later first") << true << "0.5" << true;
  QTest::newRow("the earlier itself, second") << true << "1" << false;
}

// Of a Hawk, whose states have no place of their own.
void CliStateTest::mixtureOfTwoPositionsGoesOn() {
  QFETCH(bool, laterFirst);
  QFETCH(QString, at);
  QFETCH(bool, standsLater);
  const QString earlier = saved("earlier", "2,17,9,33", "hawk-tiny");
  const QString later = saved("later", "2,21,80,5,99,31,64,18", "hawk-tiny");
  const QString mixed = cli_.file("mixed");
  COMPARE_CODE(cli_.run({"state", "interpolate", laterFirst ? later : earlier, laterFirst ? earlier : later,
                         "--at", at, "--out", mixed}),
               0);
  const auto shown = [&](const QString& file) {
    const CliResult result = cli_.run({"state", "show", file, "--json"});
    return result.code == 0 ? result.lines().value(0) : QJsonObject();
  };
  const QJsonObject found = shown(mixed);
  const QJsonObject expected = shown(standsLater ? later : earlier);
  QVERIFY(expected.contains("tokens"));
  for (const char* key : {"position", "tokens", "text"}) QCOMPARE(found[key], expected[key]);
  const CliResult going = cli_.run(
      {"generate", "--model", goldenFolder("hawk-tiny"), "--state", mixed, "--max-tokens", "3", "--json"});
  COMPARE_CODE(going, 0);
  QCOMPARE(going.lines().last()["prompt_tokens"].toInt(), standsLater ? 8 : 4);
}

void CliStateTest::transplantTakesTheLayersAskedFor() {
  const QString a = saved("a", kA);
  const QString b = saved("b", kB);
  const QString changed = cli_.file("changed");
  COMPARE_CODE(
      cli_.run({"state", "transplant", "--into", a, "--from", b, "--layer", "0,2", "--out", changed}), 0);
  const QJsonArray fromA = diff(changed, a)["layers"].toArray();
  const QJsonArray fromB = diff(changed, b)["layers"].toArray();
  for (int i = 0; i < fromA.size(); ++i) {
    const char* what = fromA[i].toObject()["kind"].toString() == "recurrent" ? "h" : "keys";
    const auto apart = [&](const QJsonArray& layers) {
      return layers[i].toObject()[what].toObject()["difference"].toDouble(-1);
    };
    const bool taken = i == 0 || i == 2;
    QVERIFY(taken ? apart(fromB) == 0 && apart(fromA) > 0 : apart(fromA) == 0 && apart(fromB) > 0);
  }
  const CliResult shown = cli_.run({"state", "show", changed, "--json"});
  QVERIFY2(shown.lines()[0]["origin"].toString().startsWith("transplant layers 0,2 of "), shown.text());
}

void CliStateTest::otherModelsAreRefusedByName() {
  const QString griffin = saved("griffin", kA);
  const QString hawk = saved("hawk", kA, "hawk-tiny");
  const auto fingerprint = [&](const QString& file) {
    return cli_.run({"state", "show", file, "--json"}).lines()[0]["fingerprint"].toString().toUtf8();
  };
  const CliResult going = cli_.run({"generate", "--model", goldenFolder("hawk-tiny"), "--state", griffin});
  const CliResult apart = cli_.run({"state", "diff", griffin, hawk});
  for (const CliResult& result : {going, apart}) {
    COMPARE_CODE(result, 1);
    for (const QByteArray& word :
         {fingerprint(griffin), fingerprint(hawk), QByteArray("griffin-tiny"), QByteArray("hawk-tiny")}) {
      QVERIFY2(result.err.contains(word), result.text());
    }
    QCOMPARE(result.err.count('\n'), 1);
  }
}

void CliStateTest::impossibleWishesAreRefused_data() {
  QTest::addColumn<QStringList>("arguments");
  QTest::addColumn<int>("code");
  QTest::addColumn<QByteArray>("says");
  const QString a = saved("a", kA);
  const QString later = saved("later", kA + ",5");
  const QString model = goldenFolder("griffin-tiny");
  const QString out = cli_.file("never");
  const auto row = [](const char* name, const QStringList& arguments, int code, const char* says) {
    QTest::newRow(name) << arguments << code << QByteArray(says);
  };
  row("no file", {"state", "show", cli_.file("missing")}, 1, "missing");
  row("not a state", {"state", "show", model + "/model.safetensors"}, 1, "eyrie-state");
  row("not safetensors", {"state", "show", model + "/config.json"}, 1, "config.json");
  row("two positions", {"state", "interpolate", a, later, "--at", "0.5", "--out", out}, 1, "13 and 14");
  row("no number", {"state", "interpolate", a, a, "--at", "nan", "--out", out}, 1, "nan");
  row("no such layer", {"state", "transplant", "--into", a, "--from", a, "--layer", "77", "--out", out}, 1,
      "77");
  row("nowhere to write",
      {"state", "transplant", "--into", a, "--from", a, "--layer", "0", "--out", "/no/such/f"}, 1,
      "/no/such");
  row("a token too large", {"state", "save", "--model", model, "--tokens", "2,99999", "--out", out}, 1,
      "99999");
  row("nothing asked", {"state"}, 2, "save");
  row("unknown", {"state", "fly"}, 2, "transplant");
  row("only one state", {"state", "diff", a}, 2, "b");
  row("no place", {"state", "interpolate", a, a, "--out", out}, 2, "--at");
  row("no file to write", {"state", "save", "--model", model, "--tokens", "2"}, 2, "--out");
  row("no prompt", {"state", "save", "--model", model, "--out", out}, 2, "--prompt");
  row("layers: words", {"state", "transplant", "--into", a, "--from", a, "--layer", "x", "--out", out}, 2,
      "x");
  row("chat after a state", {"generate", "--model", model, "--state", a, "--prompt", "x", "--chat"}, 2,
      "--chat");
  row("recorded state", {"generate", "--model", model, "--state", a, "--store", out}, 2, "--store");
}

void CliStateTest::impossibleWishesAreRefused() {
  QFETCH(QStringList, arguments);
  QFETCH(int, code);
  QFETCH(QByteArray, says);
  const CliResult result = cli_.run(arguments);
  COMPARE_CODE(result, code);
  QVERIFY2(result.err.contains(says), result.text());
  QVERIFY2(result.err.count('\n') == 1 && result.out.isEmpty(), result.text());
  QVERIFY(!QFile::exists(cli_.file("never")));
}

// As anybody would: the safetensors package where it is, else the format's own few lines.
void CliStateTest::pythonReadsStates() {
  const QString script = cli_.write("read.py", R"(
import json, struct, sys
import numpy

path = sys.argv[1]
with open(path, "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(length))
    data = file.read()
meta = header.pop("__metadata__")
try:
    from safetensors.numpy import load_file
    arrays = load_file(path)
except ImportError:
    kinds = {"F32": "<f4", "I32": "<i4"}
    arrays = {name: numpy.frombuffer(data[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
              for name, entry in header.items()}
h = arrays["layers.0.rg_lru.h"]
print(json.dumps({"format": meta["format"], "position": int(meta["position"]), "tokens": arrays["tokens"].tolist(),
                  "shape": list(h.shape), "norm": float(numpy.sqrt((h.astype("f8") ** 2).sum()))}))
)");
  const QString file = saved("python", kA);
  QProcess python;
  for (const QString& candidate :
       {qEnvironmentVariable("EYRIE_PYTHON", "python3"), QString("/usr/bin/python3")}) {
    python.start(candidate, {"-c", "import numpy"});
    if (!python.waitForFinished(120000) || python.exitCode() != 0) continue;
    python.start(candidate, {script, file});
    QVERIFY(python.waitForFinished(120000));
    QVERIFY2(python.exitCode() == 0, python.readAllStandardError());
    const CliResult read{0, python.readAllStandardOutput(), {}};
    const QJsonObject found = read.lines().value(0);
    QCOMPARE(found["format"].toString(), QString("eyrie-state"));
    const QJsonObject shown = cli_.run({"state", "show", file, "--json"}).lines()[0];
    QCOMPARE(found["position"], shown["position"]);
    QCOMPARE(found["tokens"], shown["tokens"]);
    QVERIFY(std::abs(found["norm"].toDouble() -
                     shown["layers"].toArray()[0].toObject()["h_norm"].toDouble()) < 1e-9);
    return;
  }
  QSKIP("python3 with numpy is not installed: no state read by it");
}

QTEST_GUILESS_MAIN(CliStateTest)
#include "cli_state_test.moc"
