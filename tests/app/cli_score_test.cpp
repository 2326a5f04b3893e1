// score and trace against DeepMind's own numbers, as files a stranger would read; make-model and inspect.
#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QTest>
#include <cmath>

#include "engine/checkpoint/safetensors.h"
#include "engine/verify/check.h"
#include "engine/verify/npy_reader.h"
#include "tests/app/cli_runner.h"
#include "tests/sessions/archive.h"

using namespace eyrie;
using namespace eyrie::app::test;
using engine::verify::CheckResult;
using engine::verify::NpyArray;

namespace {

QByteArray wholeFile(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

struct ArrayFile {
  QByteArray bytes;
  engine::SafetensorsFile parsed;
};

ArrayFile readSafetensors(const QString& path) {
  ArrayFile file;
  file.bytes = wholeFile(path);
  file.parsed = engine::parseSafetensors(
      std::as_bytes(std::span(file.bytes.constData(), std::size_t(file.bytes.size()))),
      std::uint64_t(file.bytes.size()), path.toStdString());
  return file;
}

const engine::SafetensorsTensor* findTensor(const ArrayFile& file, const std::string& name) {
  for (const auto& tensor : file.parsed.tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::vector<float> valuesOf(const engine::SafetensorsTensor& tensor) {
  std::vector<float> values(tensor.bytes / sizeof(float));
  std::memcpy(values.data(), tensor.data, tensor.bytes);
  return values;
}

// The rows of rows.json, or all of them.
std::vector<std::size_t> goldenRows(const QString& folder, std::size_t T) {
  std::vector<std::size_t> rows;
  const QByteArray listed = wholeFile(folder + "/rows.json");
  if (listed.isEmpty()) {
    for (std::size_t row = 0; row < T; ++row) rows.push_back(row);
  }
  for (const QJsonValue& row : QJsonDocument::fromJson(listed).array())
    rows.push_back(std::size_t(row.toInt()));
  return rows;
}

void verifyCheck(const CheckResult& check) {
  QVERIFY2(check.passed, engine::verify::describeCheck(check).c_str());
}

// Every entry of a table begins where its heading does, with two spaces before it.
void verifyColumns(const QByteArray& table) {
  const QList<QByteArray> rows = table.trimmed().split('\n');
  QVERIFY(rows.size() > 2);
  for (const char* heading : {"dtype", "shape", "file"}) {
    const auto at = rows.first().indexOf(heading);
    QVERIFY2(at > 2, rows.first());
    for (const QByteArray& row : rows) {
      QVERIFY2(row.mid(at - 2, 2) == "  " && row.size() > at && row.at(at) != ' ', row);
    }
  }
}

}  // namespace

class CliScoreTest : public QObject {
  Q_OBJECT

 private slots:
  void scoreEqualsTheReference_data();
  void scoreEqualsTheReference();
  void traceEqualsTheReference_data();
  void traceEqualsTheReference();
  void lastRowHoldsThePrediction();
  void fieldsAreExact();
  void anyChunkingGivesTheSame();
  void perTokenLinesSumUp();
  void oneTokenHasNothingToScore();
  void halfPrecisionLeavesDecayOut();
  void layersChooseWhatIsSeenInFull();
  void everyTraceFormatIsWritten_data();
  void everyTraceFormatIsWritten();
  void textHasBytes();
  void sameSeedMakesTheSameModel();
  void inspectListsEveryTensor();
  void namesOrderNoTerminalAbout();
  void deepMindNamesNeedAPresetOrAConfiguration();
  void existingModelIsNotOverwritten();

 private:
  Cli cli_;
};

void CliScoreTest::scoreEqualsTheReference_data() {
  QTest::addColumn<bool>("hasState");
  QTest::newRow("griffin-tiny") << true;
  QTest::newRow("hawk-tiny") << true;
  QTest::newRow("griffin-bf16-sharded") << true;
  QTest::newRow("griffin-long") << true;
  QTest::newRow("mqa-global") << true;
  QTest::newRow("griffin-complex") << true;
  QTest::newRow("hf-community") << false;
  QTest::newRow("deepmind-torch") << true;
  QTest::newRow("deepmind-flax") << true;
}

void CliScoreTest::scoreEqualsTheReference() {
  QFETCH(bool, hasState);
  const QString folder = goldenFolder(QTest::currentDataTag());
  const CliResult result =
      cli_.run({"score", "--model", folder, "--tokens-file", folder + "/tokens.json", "--logits",
                cli_.file("logits.npy"), "--state", cli_.file("state.safetensors")});
  COMPARE_CODE(result, 0);

  const NpyArray found = engine::verify::readNpy(cli_.file("logits.npy").toStdString());
  const NpyArray expected = engine::verify::readNpy((folder + "/logits.npy").toStdString());
  const auto T = std::size_t(QJsonDocument::fromJson(wholeFile(folder + "/tokens.json")).array().size());
  const auto V = std::size_t(expected.shape.at(1));
  QCOMPARE(found.shape.size(), std::size_t(2));
  QCOMPARE(std::size_t(found.shape[0]), T);
  QCOMPARE(std::size_t(found.shape[1]), V);
  std::vector<float> rows;
  for (const std::size_t row : goldenRows(folder, T)) {
    rows.insert(rows.end(), found.values.begin() + std::ptrdiff_t(row * V),
                found.values.begin() + std::ptrdiff_t((row + 1) * V));
  }
  verifyCheck(engine::verify::compareArrays("logits", rows, expected.values, engine::verify::kGoldenLogits));

  if (!hasState) return;
  const ArrayFile foundState = readSafetensors(cli_.file("state.safetensors"));
  const ArrayFile expectedState = readSafetensors(folder + "/state.safetensors");
  QCOMPARE(foundState.parsed.metadata.at("position"), expectedState.parsed.metadata.at("position"));
  QCOMPARE(foundState.parsed.tensors.size(), expectedState.parsed.tensors.size() + 1);
  QVERIFY2(findTensor(foundState, "tokens") != nullptr, "what made it is there too");
  for (const auto& tensor : expectedState.parsed.tensors) {
    const auto* own = findTensor(foundState, tensor.name);
    QVERIFY2(own != nullptr, tensor.name.c_str());
    QVERIFY2(own->shape == tensor.shape, tensor.name.c_str());
    verifyCheck(engine::verify::compareArrays(tensor.name, valuesOf(*own), valuesOf(tensor),
                                              engine::verify::kGoldenState));
  }
}

void CliScoreTest::traceEqualsTheReference_data() {
  QTest::addColumn<QString>("ending");
  for (const char* name : {"griffin-tiny", "hawk-tiny", "mqa-global", "griffin-complex"})
    QTest::newRow(name) << QString("npz");
}

void CliScoreTest::traceEqualsTheReference() {
  const QString folder = goldenFolder(QTest::currentDataTag());
  const CliResult result =
      cli_.run({"trace", "--model", folder, "--tokens-file", folder + "/tokens.json", "--max-tokens", "0",
                "--level", "full", "--precision", "f32", "--out", cli_.file("trace.npz")});
  COMPARE_CODE(result, 0);
  const auto found = engine::verify::readNpz(cli_.file("trace.npz").toStdString());
  const auto expected = engine::verify::readNpz((folder + "/trace.npz").toStdString());
  QVERIFY(expected.size() > 3);
  for (const auto& [name, array] : expected) {
    const auto own = found.find(name);
    QVERIFY2(own != found.end(), name.c_str());
    QVERIFY2(own->second.shape == array.shape, name.c_str());
    const bool logDecay = name.ends_with("log_decay");
    verifyCheck(engine::verify::compareArrays(
        name, own->second.values, array.values,
        logDecay ? engine::verify::kGoldenLogDecay : engine::verify::kGoldenState));
  }
}

void CliScoreTest::lastRowHoldsThePrediction() {
  // What follows the tokens 2, 3, 4 is the same whether 9 was read after them or nothing was.
  const auto traceOf = [&](const QString& tokens, const char* name) {
    const CliResult result = cli_.run({"trace", "--model", goldenFolder("hawk-tiny"), "--tokens", tokens,
                                       "--max-tokens", "0", "--precision", "f32", "--out", cli_.file(name)});
    return result.code == 0 ? engine::verify::readNpz(cli_.file(name).toStdString())
                            : std::map<std::string, NpyArray>();
  };
  const auto shorter = traceOf("2,3,4", "three.npz");
  const auto longer = traceOf("2,3,4,9", "four.npz");
  for (const char* name : {"output.entropy", "output.topk_tokens", "output.topk_logprobs"}) {
    QVERIFY2(shorter.contains(name) && longer.contains(name), name);
    std::vector<float> rows = longer.at(name).values;
    rows.resize(shorter.at(name).values.size());
    verifyCheck(
        engine::verify::compareArrays(name, shorter.at(name).values, rows, engine::verify::kGoldenState));
  }
}

void CliScoreTest::fieldsAreExact() {
  const CliResult result = cli_.run({"score", "--model", goldenFolder("hawk-tiny"), "--tokens", "2, 5,7"});
  COMPARE_CODE(result, 0);
  QCOMPARE(result.lines().size(), 1);
  const QJsonObject line = result.lines().first();
  QCOMPARE(line.keys(), (QStringList{"bits_per_byte", "buckets", "bytes", "chunks", "interventions",
                                     "logprob_sum", "perplexity", "tokens"}));
  QCOMPARE(line["tokens"].toInt(), 3);
  QCOMPARE(line["chunks"].toInt(), 1);
  QVERIFY(line["bytes"].isNull());
  QVERIFY(line["bits_per_byte"].isNull());
  const double sum = line["logprob_sum"].toDouble();
  QVERIFY(sum < 0);
  QVERIFY(std::abs(line["perplexity"].toDouble() / std::exp(-sum / 2) - 1) < 1e-9);
}

void CliScoreTest::anyChunkingGivesTheSame() {
  const QString folder = goldenFolder("griffin-tiny");
  const QStringList score = {"score", "--model", folder, "--tokens-file", folder + "/tokens.json"};
  const double whole = cli_.run(score).lines().value(0)["logprob_sum"].toDouble();
  QVERIFY(whole < 0);
  for (const auto& [chunk, chunks] : {std::pair("1", 80), std::pair("7", 12), std::pair("80", 1)}) {
    const QJsonObject line = cli_.run(score + QStringList{"--chunk", chunk}).lines().value(0);
    QCOMPARE(line["chunks"].toInt(), chunks);
    QVERIFY2(std::abs(line["logprob_sum"].toDouble() / whole - 1) < 1e-5, chunk);
  }
}

void CliScoreTest::perTokenLinesSumUp() {
  const QString folder = goldenFolder("griffin-tiny");
  const CliResult result = cli_.run({"score", "--model", folder, "--tokens-file", folder + "/tokens.json",
                                     "--per-token", cli_.file("tokens.jsonl")});
  COMPARE_CODE(result, 0);
  CliResult perToken;
  perToken.out = cli_.read("tokens.jsonl");
  const auto lines = perToken.lines();
  QCOMPARE(lines.size(), 80);
  QVERIFY(lines[0]["logprob"].isNull());
  QCOMPARE(lines[0]["token"].toInt(), 2);
  double sum = 0;
  for (const auto& line : lines) sum += line["logprob"].toDouble();
  QVERIFY(std::abs(sum / result.lines()[0]["logprob_sum"].toDouble() - 1) < 1e-5);
}

void CliScoreTest::oneTokenHasNothingToScore() {
  const CliResult result = cli_.run({"score", "--model", goldenFolder("hawk-tiny"), "--tokens", "2"});
  COMPARE_CODE(result, 0);
  const QJsonObject line = result.lines().value(0);
  QCOMPARE(line["tokens"].toInt(), 1);
  QVERIFY(line["perplexity"].isNull());
}

void CliScoreTest::halfPrecisionLeavesDecayOut() {
  const CliResult result = cli_.run({"trace", "--model", goldenFolder("hawk-tiny"), "--tokens", "2,3,4",
                                     "--max-tokens", "2", "--out", cli_.file("half.safetensors")});
  COMPARE_CODE(result, 0);
  const ArrayFile file = readSafetensors(cli_.file("half.safetensors"));
  QVERIFY(findTensor(file, "layers.0.decay") == nullptr);
  const auto* logDecay = findTensor(file, "layers.0.log_decay");
  QVERIFY(logDecay != nullptr);
  QCOMPARE(logDecay->dtype, std::string("F16"));
  QCOMPARE(logDecay->shape.at(0), result.lines().value(0)["tokens"].toInteger());
  QVERIFY(QFile::exists(cli_.file("open_trace.py")));
}

void CliScoreTest::layersChooseWhatIsSeenInFull() {
  const CliResult result =
      cli_.run({"trace", "--model", goldenFolder("griffin-tiny"), "--tokens", "2,3,4", "--max-tokens", "0",
                "--layers", "1,3-4", "--precision", "f32", "--out", cli_.file("some.npz")});
  COMPARE_CODE(result, 0);
  const auto found = sessions::testing::readNpz(cli_.file("some.npz").toStdString()).arrays;
  for (const int layerIdx : {0, 1, 3, 4}) {
    const std::string layer = "layers." + std::to_string(layerIdx);
    QVERIFY2(found.contains(layer + ".state_norm"), layer.c_str());
    QCOMPARE(found.contains(layer + ".recurrence_gate"), layerIdx != 0);
  }
}

void CliScoreTest::everyTraceFormatIsWritten_data() {
  QTest::addColumn<QByteArray>("begins");
  QTest::newRow("npz") << QByteArray("PK");
  QTest::newRow("safetensors") << QByteArray();
  QTest::newRow("csv") << QByteArray("position");
  QTest::newRow("jsonl") << QByteArray("{");
}

void CliScoreTest::everyTraceFormatIsWritten() {
  QFETCH(QByteArray, begins);
  const QString name = QStringLiteral("every.") + QTest::currentDataTag();
  const CliResult result =
      cli_.run({"trace", "--model", goldenFolder("griffin-tiny"), "--tokens", "2,3,4", "--max-tokens", "5",
                "--seed", "3", "--level", "summary", "--out", cli_.file(name)});
  COMPARE_CODE(result, 0);
  const QByteArray bytes = cli_.read(name);
  QVERIFY(bytes.size() > 100);
  QVERIFY2(bytes.startsWith(begins), bytes.left(40));
  const QJsonObject line = result.lines().value(0);
  QCOMPARE(line["file"].toString(), cli_.file(name));
  QCOMPARE(line["prompt_tokens"].toInt(), 3);
  QCOMPARE(line["seed"].toInt(), 3);
  QVERIFY(line["tokens"].toInt() > 3);
}

void CliScoreTest::textHasBytes() {
  const QString model = builtInModel();
  if (model.isEmpty()) QSKIP("the tree has no built-in model");
  const QByteArray text = "The old king looked out of the window, and \xC3\xA9t\xC3\xA9 came.";
  const CliResult result = cli_.run({"score", "--model", model, "--text-file", cli_.write("text.txt", text)});
  COMPARE_CODE(result, 0);
  const QJsonObject line = result.lines().value(0);
  QCOMPARE(line["bytes"].toInt(), int(text.size()));
  const double bits = -line["logprob_sum"].toDouble() / std::log(2.0) / double(text.size());
  QVERIFY(std::abs(line["bits_per_byte"].toDouble() / bits - 1) < 1e-9);
  const CliResult fromStdin = cli_.run({"score", "--model", model, "--text-file", "-"}, text);
  QCOMPARE(fromStdin.out, result.out);
}

void CliScoreTest::sameSeedMakesTheSameModel() {
  for (const char* name : {"a", "b", "c"}) {
    const QString seed = QString(name) == "c" ? "8" : "7";
    const CliResult made =
        cli_.run({"make-model", "--preset", "tiny-griffin", "--seed", seed, "--out", cli_.file(name)});
    COMPARE_CODE(made, 0);
    QVERIFY(made.lines().value(0)["parameters"].toInt() > 100'000);
  }
  const QByteArray a = cli_.read("a/model.safetensors");
  QVERIFY(a.size() > 400'000);
  QVERIFY(a == cli_.read("b/model.safetensors"));
  QVERIFY(a != cli_.read("c/model.safetensors"));
  const CliResult scored = cli_.run({"score", "--model", cli_.file("a"), "--tokens", "2,3,4,5"});
  COMPARE_CODE(scored, 0);
  const double perplexity = scored.lines().value(0)["perplexity"].toDouble();
  QVERIFY2(perplexity > 10 && perplexity < 5000, scored.out);  // about V = 256 for random weights
}

void CliScoreTest::namesOrderNoTerminalAbout() {
  const QString model = cli_.file("\033[2Jmodel");
  QVERIFY(QFile::link(goldenFolder("griffin-tiny"), model));
  const CliResult result = cli_.run({"inspect", "--model", model});
  COMPARE_CODE(result, 0);
  QVERIFY2(result.out.contains("/?[2Jmodel") && !result.out.contains('\033'), result.text());
}

void CliScoreTest::inspectListsEveryTensor() {
  const CliResult result = cli_.run({"inspect", "--model", goldenFolder("griffin-bf16-sharded"), "--json"});
  COMPARE_CODE(result, 0);
  QCOMPARE(result.lines().size(), 1);
  const QJsonObject model = result.lines().first();
  QCOMPARE(model["dtype"].toString(), QString("bf16"));
  QCOMPARE(model["config"]["attention_window_size"].toInt(), 8);
  qint64 parameters = 0;
  for (const QJsonValue& tensor : model["tensors"].toArray()) {
    qint64 count = 1;
    for (const QJsonValue& size : tensor["shape"].toArray()) count *= size.toInteger();
    parameters += count;
    QVERIFY2(tensor["file"].toString().startsWith("model-0000"), qPrintable(tensor["name"].toString()));
  }
  QCOMPARE(model["parameters"].toInteger(), parameters);
  const CliResult text = cli_.run({"inspect", "--model", goldenFolder("griffin-bf16-sharded")});
  COMPARE_CODE(text, 0);
  QVERIFY2(text.out.contains("model.embed_tokens.weight"), text.text());
  verifyColumns(text.out.mid(text.out.indexOf("\ntensor ") + 1));
}

void CliScoreTest::deepMindNamesNeedAPresetOrAConfiguration() {
  const QString weights = goldenFolder("deepmind-torch") + "/model.safetensors";
  QVERIFY(QDir().mkpath(cli_.file("bare")));
  cli_.write("bare/model.safetensors", wholeFile(weights));
  const QStringList inspect = {"inspect", "--model", cli_.file("bare")};
  const CliResult without = cli_.run(inspect);
  COMPARE_CODE(without, 1);
  QVERIFY2(without.err.contains("attention_window_size, logits_soft_cap, embeddings_scale_by_sqrt_dim") &&
               without.err.contains("--preset"),
           without.text());
  const CliResult unknown = cli_.run(inspect + QStringList{"--preset", "gpt"});
  COMPARE_CODE(unknown, 2);
  const CliResult other = cli_.run(inspect + QStringList{"--preset", "recurrentgemma-2b"});
  COMPARE_CODE(other, 1);
  QVERIFY2(other.err.contains("width: expected 2560, found 24"), other.text());
  const CliResult plain = cli_.run(
      {"score", "--model", goldenFolder("griffin-tiny"), "--tokens", "2,3", "--preset", "tiny-griffin"});
  COMPARE_CODE(plain, 1);
  QVERIFY2(plain.err.contains("expected tensors with DeepMind's names"), plain.text());
}

void CliScoreTest::existingModelIsNotOverwritten() {
  const QStringList make = {"make-model", "--preset", "tiny-hawk", "--out", cli_.file("once")};
  COMPARE_CODE(cli_.run(make), 0);
  const CliResult again = cli_.run(make);
  COMPARE_CODE(again, 1);
  QVERIFY2(again.err.contains("new or empty folder"), again.text());
}

QTEST_GUILESS_MAIN(CliScoreTest)
#include "cli_score_test.moc"
