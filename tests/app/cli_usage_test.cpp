// What eyrie-cli says of itself, and how it refuses: 2 for wrong options, 1 for what cannot be done.
#include <QDir>
#include <QFile>
#include <QTest>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

class CliUsageTest : public QObject {
  Q_OBJECT

 private slots:
  void versionIsTheProjects();
  void helpGoesToStdout_data();
  void helpGoesToStdout();
  void wrongOptionsExitWithTwo_data();
  void wrongOptionsExitWithTwo();
  void unknownCommandIsToldTheOthers();
  void everySeedIsKept();
  void commonOptionsGoWithEveryModel();
  void wrongInputExitsWithOne_data();
  void wrongInputExitsWithOne();
  void doctorChecksThePartsNamed();
  void missingDeviceIsNamed();

 private:
  Cli cli_;
};

void CliUsageTest::versionIsTheProjects() {
  const CliResult result = cli_.run({"--version"});
  COMPARE_CODE(result, 0);
  QCOMPARE(result.out.trimmed(), QByteArray("eyrie-cli " EYRIE_VERSION));
}

void CliUsageTest::helpGoesToStdout_data() {
  QTest::addColumn<QStringList>("arguments");
  QTest::addColumn<QByteArray>("mentions");
  const auto row = [](const char* command, const char* mentions) {
    QTest::newRow(command) << QStringList{command, "--help"} << QByteArray(mentions);
  };
  QTest::newRow("limits") << QStringList{"score", "--help"} << QByteArray("at most 128 MiB\neach");
  QTest::newRow("whole") << QStringList{"--help"} << QByteArray("make-model");
  row("generate", "--max-tokens");
  row("score", "--per-token");
  row("trace", "--precision");
  row("draw", "--view");
  row("inspect", "--json");
  row("make-model", "recurrentgemma-2b");
  row("doctor", "--backend");
  row("bench", "--prefill");
  row("state", "transplant");
#ifdef EYRIE_STORE
  row("session", "import");
#endif
}

void CliUsageTest::helpGoesToStdout() {
  QFETCH(QStringList, arguments);
  QFETCH(QByteArray, mentions);
  const CliResult result = cli_.run(arguments);
  COMPARE_CODE(result, 0);
  QVERIFY2(result.out.contains(mentions), result.text());
  QVERIFY2(result.err.isEmpty(), result.text());
}

void CliUsageTest::wrongOptionsExitWithTwo_data() {
  QTest::addColumn<QStringList>("arguments");
  const QString tiny = goldenFolder("griffin-tiny");
  const auto generate = [&](const QStringList& more) {
    return QStringList{"generate", "--model", tiny} + more;
  };
  const auto trace = [&](const QStringList& more) {
    return QStringList{"trace", "--model", tiny, "--tokens", "2"} + more;
  };
  QTest::newRow("nothing") << QStringList{};
  QTest::newRow("unknown command") << QStringList{"fly"};
  QTest::newRow("unknown option before a command") << QStringList{"--colour"};
  QTest::newRow("empty command") << QStringList{""};
  QTest::newRow("unknown option") << generate({"--tokens", "2", "--colour"});
  QTest::newRow("no model") << QStringList{"generate", "--tokens", "2"};
  QTest::newRow("model: empty") << QStringList{"generate", "--model", "", "--tokens", "2"};
  QTest::newRow("two models") << generate({"--tokens", "2", "--model", tiny});
  QTest::newRow("word that is no option") << generate({"--tokens", "2", "more"});
  QTest::newRow("option without its value") << generate({"--tokens", "2", "--seed"});
  QTest::newRow("prompt file: empty") << generate({"--prompt-file", ""});
  QTest::newRow("token file: empty") << generate({"--tokens-file", ""});
  QTest::newRow("no prompt") << generate({});
  QTest::newRow("two prompts") << generate({"--tokens", "2", "--prompt", "x"});
  QTest::newRow("chat with tokens") << generate({"--tokens", "2", "--chat"});
  QTest::newRow("tokens: no numbers") << generate({"--tokens", "2,x"});
  QTest::newRow("tokens: empty") << generate({"--tokens", ""});
  QTest::newRow("tokens: trailing comma") << generate({"--tokens", "2,"});
  QTest::newRow("tokens: too large for a number") << generate({"--tokens", "99999999999"});
  QTest::newRow("max tokens below 0") << generate({"--tokens", "2", "--max-tokens", "-1"});
  QTest::newRow("max tokens: no number") << generate({"--tokens", "2", "--max-tokens", "many"});
  QTest::newRow("temperature below 0") << generate({"--tokens", "2", "--temperature", "-0.1"});
  QTest::newRow("temperature nan") << generate({"--tokens", "2", "--temperature", "nan"});
  QTest::newRow("temperature inf") << generate({"--tokens", "2", "--temperature", "inf"});
  QTest::newRow("temperature: empty") << generate({"--tokens", "2", "--temperature", ""});
  QTest::newRow("temperature: a word after the number") << generate({"--tokens", "2", "--temperature", "1x"});
  QTest::newRow("top-k: too large") << generate({"--tokens", "2", "--top-k", "99999999999"});
  QTest::newRow("repetition penalty 0") << generate({"--tokens", "2", "--repetition-penalty", "0"});
  QTest::newRow("top-k below 0") << generate({"--tokens", "2", "--top-k", "-1"});
  QTest::newRow("top-p 0") << generate({"--tokens", "2", "--top-p", "0"});
  QTest::newRow("top-p above 1") << generate({"--tokens", "2", "--top-p", "1.5"});
  QTest::newRow("min-p 1") << generate({"--tokens", "2", "--min-p", "1"});
  QTest::newRow("seed below 0") << generate({"--tokens", "2", "--seed", "-1"});
  QTest::newRow("seed: empty") << generate({"--tokens", "2", "--seed", ""});
  QTest::newRow("seed: beyond 64 bits") << generate({"--tokens", "2", "--seed", "18446744073709551616"});
  QTest::newRow("seed: octal to some") << generate({"--tokens", "2", "--seed", "010"});
  QTest::newRow("seed: not decimal") << generate({"--tokens", "2", "--seed", "0x10"});
  QTest::newRow("max tokens: too large") << generate({"--tokens", "2", "--max-tokens", "99999999999"});
  QTest::newRow("threads 0") << generate({"--tokens", "2", "--threads", "0"});
  QTest::newRow("unknown backend") << generate({"--tokens", "2", "--backend", "abacus"});
  QTest::newRow("unknown dtype") << generate({"--tokens", "2", "--dtype", "f12"});
  QTest::newRow("session without store") << generate({"--tokens", "2", "--session", "1"});
  QTest::newRow("interventions: unknown target") << generate({"--tokens", "2", "--intervene", "ablate:0"});
  QTest::newRow("interventions: no number") << generate({"--tokens", "2", "--intervene", "state *= x"});
  QTest::newRow("score: chunk 0") << QStringList{"score", "--model", tiny, "--tokens", "2", "--chunk", "0"};
  QTest::newRow("score: prompt is not an option") << QStringList{"score", "--model", tiny, "--prompt", "x"};
  QTest::newRow("score: empty name") << QStringList{"score", "--model",  tiny, "--tokens",
                                                    "2",     "--logits", ""};
  QTest::newRow("score: two results in one file")
      << QStringList{"score", "--model", tiny, "--tokens", "2", "--logits", "x", "--state", "./x"};
  QTest::newRow("trace: no out") << trace({});
  QTest::newRow("trace: unknown ending") << trace({"--out", cli_.file("x.txt")});
  QTest::newRow("trace: empty out") << trace({"--out", ""});
  QTest::newRow("trace: unknown level") << trace({"--out", cli_.file("x.npz"), "--level", "some"});
  QTest::newRow("trace: layers") << trace({"--out", cli_.file("x.npz"), "--layers", "0,,2"});
  QTest::newRow("trace: falling range") << trace({"--out", cli_.file("x.npz"), "--layers", "3-1"});
  QTest::newRow("trace: precision") << trace({"--out", cli_.file("x.npz"), "--precision", "f8"});
  QTest::newRow("draw: unknown view") << QStringList{"draw", "x.npz", "--view", "dreams", "--out", "x.png"};
  QTest::newRow("draw: width 0") << QStringList{"draw",  "x.npz", "--view",  "gates",
                                                "--out", "x.png", "--width", "0"};
  QTest::newRow("draw: token below 0")
      << QStringList{"draw", "x.npz", "--view", "gates", "--out", "x.png", "--token", "-1"};
  QTest::newRow("draw: another ending") << QStringList{"draw", "x.npz", "--view", "gates", "--out", "x.gif"};
  QTest::newRow("make-model: empty out") << QStringList{"make-model", "--preset", "tiny-hawk", "--out", ""};
  QTest::newRow("make-model: unknown preset")
      << QStringList{"make-model", "--preset", "phoenix", "--out", "x"};
  QTest::newRow("bench: no model") << QStringList{"bench", "--decode", "2"};
  QTest::newRow("bench: nothing to read") << QStringList{"bench", "--model", tiny, "--prefill", "0"};
  QTest::newRow("bench: never") << QStringList{"bench", "--model", tiny, "--repeats", "0"};
  QTest::newRow("doctor: unknown backend") << QStringList{"doctor", "--backend", "abacus"};
  QTest::newRow("doctor: unknown part") << QStringList{"doctor", "--only", "ops,teeth"};
#ifdef EYRIE_STORE
  QTest::newRow("store with tokens") << generate({"--tokens", "2", "--store", cli_.file("x.db")});
  QTest::newRow("store: empty") << generate({"--tokens", "2", "--store", ""});
  QTest::newRow("session: unknown command") << QStringList{"session", "fly"};
  QTest::newRow("session: id is no number") << QStringList{"session", "show", "one"};
  QTest::newRow("session: id beyond 63 bits") << QStringList{"session", "show", "9223372036854775808"};
  QTest::newRow("session: nothing") << QStringList{"session"};
  QTest::newRow("session: show without id") << QStringList{"session", "show"};
  QTest::newRow("session: id 0") << QStringList{"session", "show", "0"};
  QTest::newRow("session: export without out") << QStringList{"session", "export", "1"};
#endif
}

void CliUsageTest::wrongOptionsExitWithTwo() {
  QFETCH(QStringList, arguments);
  const CliResult result = cli_.run(arguments);
  COMPARE_CODE(result, 2);
  QVERIFY2(result.out.isEmpty(), result.text());
  QVERIFY2(result.err.startsWith("eyrie-cli: ") && result.err.contains("--help"), result.text());
  QCOMPARE(result.err.count('\n'), 1);  // one line
  QVERIFY2(result.err.size() < 600, result.text());
  QVERIFY(!QFile::exists(cli_.file("x.db")));
}

void CliUsageTest::unknownCommandIsToldTheOthers() {
  const CliResult result = cli_.run({"fly"});
  QVERIFY2(result.err.contains("generate, score, trace") && result.err.contains("'fly'"), result.text());
}

void CliUsageTest::everySeedIsKept() {
  const CliResult largest = cli_.run({"generate", "--model", goldenFolder("hawk-tiny"), "--tokens", "2",
                                      "--json", "--max-tokens", "1", "--seed", "18446744073709551615"});
  COMPARE_CODE(largest, 0);
  QVERIFY2(largest.out.contains("\"seed\":18446744073709551615,"), largest.text());
}

void CliUsageTest::commonOptionsGoWithEveryModel() {
  const QString tiny = goldenFolder("griffin-tiny");
  for (const QStringList& command : {QStringList{"inspect"},
                                     {"score", "--tokens", "2"},
                                     {"generate", "--tokens", "2", "--max-tokens", "1"}}) {
    COMPARE_CODE(cli_.run(command + QStringList{"--model", tiny, "--backend", "cpu", "--threads", "1",
                                                "--dtype", "f32"}),
                 0);
    for (const char* dtype : {"bf16", "f16", "int8", "int4"}) {
      COMPARE_CODE(cli_.run(command + QStringList{"--model", tiny, "--dtype", dtype}), 0);
    }
  }
}

void CliUsageTest::wrongInputExitsWithOne_data() {
  QTest::addColumn<QStringList>("arguments");
  QTest::addColumn<QByteArray>("mentions");
  const QString tiny = goldenFolder("griffin-tiny");
  const QStringList two = {"--tokens", "2"};
  QTest::newRow("no such model") << QStringList{"generate", "--model", "nowhere/to-be-found"} + two
                                 << QByteArray("nowhere/to-be-found");
  QTest::newRow("name of more than one line")
      << QStringList{"generate", "--model", "no\nsuch\tmodel"} + two << QByteArray("no?such?model");
  QTest::newRow("model is a device") << QStringList{"generate", "--model", "/dev/null"} + two
                                     << QByteArray("/dev/null");
  QTest::newRow("empty folder") << QStringList{"inspect", "--model", cli_.file(".")}
                                << QByteArray("model.safetensors");
  QTest::newRow("text without tokenizer")
      << QStringList{"generate", "--model", tiny, "--prompt", "Hello"} << QByteArray("--tokens");
  QTest::newRow("chat without tokenizer")
      << QStringList{"generate", "--model", tiny, "--chat", "--prompt", "Hi"} << QByteArray("tokenizer");
  QTest::newRow("token outside the vocabulary")
      << QStringList{"generate", "--model", tiny, "--tokens", "2,160"} << QByteArray("160");
  QTest::newRow("token below 0") << QStringList{"score", "--model", tiny, "--tokens", "-1"}
                                 << QByteArray("-1");
  QTest::newRow("no such token file")
      << QStringList{"score", "--model", tiny, "--tokens-file", "none.json"} << QByteArray("none.json");
  QTest::newRow("token file is no JSON")
      << QStringList{"score", "--model", tiny, "--tokens-file", cli_.write("a.json", "2, 3")}
      << QByteArray("a.json");
  QTest::newRow("token file is an object")
      << QStringList{"score", "--model", tiny, "--tokens-file", cli_.write("b.json", "{}")}
      << QByteArray("object");
  QTest::newRow("token file has fractions")
      << QStringList{"score", "--model", tiny, "--tokens-file", cli_.write("c.json", "[2, 3.5]")}
      << QByteArray("3.5");
  QTest::newRow("token file is empty")
      << QStringList{"score", "--model", tiny, "--tokens-file", cli_.write("d.json", "[]")}
      << QByteArray("d.json");
  QTest::newRow("token file is a folder")
      << QStringList{"score", "--model", tiny, "--tokens-file", cli_.file(".")} << QByteArray("a folder");
  QTest::newRow("token file never ends")
      << QStringList{"score", "--model", tiny, "--tokens-file", "/dev/zero"} << QByteArray("128 MiB");
  QTest::newRow("token file is deep") << QStringList{"score", "--model", tiny, "--tokens-file",
                                                     cli_.write("deep.json", QByteArray(1'000'000, '['))}
                                      << QByteArray("deep.json");
  QTest::newRow("token file is deep and whole")
      << QStringList{"score", "--model", tiny, "--tokens-file",
                     cli_.write("whole.json", QByteArray(1'000'000, '[') + QByteArray(1'000'000, ']'))}
      << QByteArray("whole.json: JSON is nested more than 2 deep");
  QTest::newRow("token beyond 64 bits") << QStringList{"score", "--model", tiny, "--tokens-file",
                                                       cli_.write("e.json", "[2, 18446744073709551617]")}
                                        << QByteArray("e.json");
  QTest::newRow("token file is empty bytes")
      << QStringList{"score", "--model", tiny, "--tokens-file", "/dev/null"} << QByteArray("expected JSON");
  QTest::newRow("layer outside the model")
      << QStringList{"trace", "--model", tiny, "--layers", "6", "--out", cli_.file("x.npz")} + two
      << QByteArray("0 to 5");
  QTest::newRow("intervention on a layer that is not there")
      << QStringList{"generate", "--model", tiny, "--intervene", "layer 6 mlp off"} + two
      << QByteArray("'layer 6 mlp off': expected layers from 0 to 5, found 6");
  QTest::newRow("text goes with a tokenizer alone")
      << QStringList{"score", "--model", tiny, "--text-file", "/dev/null"} << QByteArray("tokenizer");
  QTest::newRow("trace onto a folder")
      << QStringList{"trace", "--model", tiny, "--out", cli_.file("folder.npz")} + two
      << QByteArray("a folder");
  QTest::newRow("no such reference outputs")
      << QStringList{"doctor", "--goldens", "none"} << QByteArray("none");
  QTest::newRow("logits into a folder that is not there")
      << QStringList{"score", "--model", tiny, "--logits", "none/x.npy"} + two << QByteArray("none/x.npy");
  QTest::newRow("trace into a folder that is not there")
      << QStringList{"trace", "--model", tiny, "--out", "none/x.npz"} + two << QByteArray("none/x.npz");
  QTest::newRow("no such trace") << QStringList{"draw", "none.npz", "--view", "gates", "--out", "x.png"}
                                 << QByteArray("eyrie-cli: ");
#ifdef EYRIE_STORE
  QTest::newRow("no such store") << QStringList{"session", "check", "--store", "none.db"}
                                 << QByteArray("none.db");
  QTest::newRow("store is something else")
      << QStringList{"session", "list", "--store", cli_.write("text.db", QByteArray(4096, 'x'))}
      << QByteArray("text.db");
  QTest::newRow("store is a folder") << QStringList{"session", "list", "--store", cli_.file(".")}
                                     << QByteArray("expected a file");
  QTest::newRow("import is a folder")
      << QStringList{"session", "import", cli_.file("."), "--store", cli_.file("x.db")}
      << QByteArray("expected a file");
  QTest::newRow("import is something else")
      << QStringList{"session", "import", cli_.write("x.eyrie", "x"), "--store", cli_.file("x.db")}
      << QByteArray("x.eyrie");
  QTest::newRow("no such session") << QStringList{"session", "show", "1", "--store", cli_.file("none.db")}
                                   << QByteArray("none.db");
  QTest::newRow("no such import") << QStringList{"session", "import", "none.eyrie"}
                                  << QByteArray("none.eyrie");
#endif
}

void CliUsageTest::wrongInputExitsWithOne() {
  QFETCH(QStringList, arguments);
  QFETCH(QByteArray, mentions);
  QDir(cli_.file(".")).mkdir("folder.npz");
  const CliResult result = cli_.run(arguments);
  COMPARE_CODE(result, 1);
  QVERIFY2(result.out.isEmpty() || arguments.first() == "doctor", result.text());
  QVERIFY(!QFile::exists(cli_.file("x.db")));  // a failed import begins no store
  QVERIFY2(result.err.startsWith("eyrie-cli: "), result.text());
  QVERIFY2(result.err.contains(mentions), result.text());
  QCOMPARE(result.err.count('\n'), 1);  // one line
}

void CliUsageTest::doctorChecksThePartsNamed() {
  const CliResult result = cli_.run({"doctor", "--backend", "cpu", "--only", "ops"});
  COMPARE_CODE(result, 0);
  QVERIFY2(result.out.contains("ops against the reference: ") && result.out.endsWith("sound\n"),
           result.text());
  QVERIFY2(!result.out.contains("invariants") && !result.out.contains("interventions"), result.text());
}

void CliUsageTest::missingDeviceIsNamed() {
  const CliResult result = cli_.run({"doctor", "--backend", "cuda"});
  if (result.code == 0) QSKIP("this machine has a CUDA device");
  COMPARE_CODE(result, 1);
  QVERIFY2((result.out + result.err).contains("cuda: no device ("), result.text());
}

QTEST_GUILESS_MAIN(CliUsageTest)
#include "cli_usage_test.moc"
