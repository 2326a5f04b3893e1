// What stored precision costs: perplexity and divergence against f32, over eight times the length the
// built-in models were trained at, and not more of it late than early.
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QTest>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "engine/checkpoint/safetensors.h"
#include "kernels/dtype.h"
#include "tests/app/cli_runner.h"

using namespace eyrie;
using namespace eyrie::app::test;

namespace {

constexpr int kTrainedLength = 512;
constexpr int kTokens = 8 * kTrainedLength;

QByteArray wholeFile(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

// A number that bf16 would round to `value`: within half a step of it.
float unrounded(float value, std::mt19937& random) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value == 0.0F) return value;
  const std::uint32_t halfStep = 0x8000U;
  return std::bit_cast<float>(bits + 1 + static_cast<std::uint32_t>(random() % (2 * halfStep - 1)) -
                              halfStep);
}

// An f32 model of which the built-in one is the bf16 rounding: what the training had before it was stored.
class UnroundedModel {
 public:
  explicit UnroundedModel(const QString& name) {
    const QString source = QStringLiteral(EYRIE_SOURCE_DIR "/assets/models/") + name;
    for (const char* file : {"config.json", "tokenizer.model"})
      folder_.write(file, wholeFile(source + "/" + file));
    const QByteArray bytes = wholeFile(source + "/model.safetensors");
    const auto parsed =
        engine::parseSafetensors(std::as_bytes(std::span(bytes.constData(), std::size_t(bytes.size()))),
                                 std::uint64_t(bytes.size()), "model.safetensors");
    std::mt19937 random(1);
    QJsonObject header;
    QByteArray data;
    for (const auto& tensor : parsed.tensors) add(tensor, random, header, data);
    QByteArray written = QJsonDocument(header).toJson(QJsonDocument::Compact);
    written.append((8 - written.size() % 8) % 8, ' ');
    const auto length = std::uint64_t(written.size());
    folder_.write("model.safetensors",
                  QByteArray(reinterpret_cast<const char*>(&length), 8) + written + data);
  }
  QString folder() const { return folder_.file("."); }
  bool whole() const { return roundsBack_ && count_ > 1'000'000; }

 private:
  void add(const engine::SafetensorsTensor& tensor, std::mt19937& random, QJsonObject& header,
           QByteArray& data) {
    const bool half = tensor.dtype == "BF16";
    const std::size_t n = tensor.bytes / (half ? 2 : 4);
    const auto begin = data.size();
    QJsonArray shape;
    for (const std::int64_t size : tensor.shape) shape.append(qint64(size));
    for (std::size_t i = 0; i < n; ++i) {
      float value = kernels::loadAsFloat(tensor.data, half ? kernels::DType::bf16 : kernels::DType::f32, i);
      if (half) {
        const float stored = value;
        value = unrounded(stored, random);
        roundsBack_ = roundsBack_ && kernels::bf16ToFloat(kernels::floatToBf16(value)) == stored;
        ++count_;
      }
      data.append(reinterpret_cast<const char*>(&value), 4);
    }
    header[QString::fromStdString(tensor.name)] =
        QJsonObject{{"dtype", "F32"}, {"shape", shape}, {"data_offsets", QJsonArray{begin, data.size()}}};
  }

  Cli folder_;
  bool roundsBack_ = true;
  std::size_t count_ = 0;
};

double meanOf(const QJsonArray& buckets, const char* field, qsizetype from, qsizetype to) {
  double sum = 0;
  for (qsizetype i = from; i < to; ++i) sum += buckets[i][field].toDouble();
  return sum / double(to - from);
}

// Change of the mean loss, in nats, over some buckets: as a change of perplexity.
double changeOver(const QJsonArray& buckets, qsizetype from, qsizetype to) {
  double nats = 0;
  for (qsizetype i = from; i < to; ++i)
    nats += std::log(buckets[i]["against_perplexity"].toDouble() / buckets[i]["perplexity"].toDouble());
  return std::expm1(nats / double(to - from));
}

}  // namespace

class CliPrecisionTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase();
  void lowerPrecisionCostsLittleAndNoMoreLateThanEarly_data();
  void lowerPrecisionCostsLittleAndNoMoreLateThanEarly();
  void aCoarseModelIsFoundOut();

 private:
  CliResult score(const QStringList& options);
  Cli cli_;
  QString tokens_;
  std::map<QString, std::unique_ptr<UnroundedModel>> models_;
};

void CliPrecisionTest::initTestCase() {
  if (builtInModel().isEmpty()) QSKIP("the tree has no built-in model");
  // What the third of the siblings writes: text like their own, which neither was trained on.
  QByteArray list = "[2";
  for (int seed = 1, tokens = 1; tokens < kTokens; ++seed) {
    const CliResult written =
        cli_.run({"generate", "--model", "mqa", "--prompt", "Once upon a time", "--max-tokens", "1500",
                  "--temperature", "1", "--top-p", "1", "--seed", QString::number(seed), "--json"});
    COMPARE_CODE(written, 0);
    const auto lines = written.lines();
    for (qsizetype i = 0; i + 1 < lines.size() && tokens < kTokens; ++i, ++tokens)
      list += "," + QByteArray::number(lines[i]["token"].toInt());
  }
  tokens_ = cli_.write("tokens.json", list + "]");
  for (const char* name : {"griffin", "hawk"}) {
    models_[name] = std::make_unique<UnroundedModel>(name);
    QVERIFY2(models_[name]->whole(), "the f32 weights must be those that bf16 rounds to the stored ones");
  }
}

CliResult CliPrecisionTest::score(const QStringList& options) {
  return cli_.run(
      QStringList{"score", "--tokens-file", tokens_, "--bucket", QString::number(kTrainedLength)} + options);
}

void CliPrecisionTest::lowerPrecisionCostsLittleAndNoMoreLateThanEarly_data() {
  QTest::addColumn<QString>("model");
  QTest::addColumn<QString>("dtype");
  QTest::addColumn<double>("most");  // change of perplexity
  for (const char* model : {"griffin", "hawk"}) {
    QTest::addRow("%s bf16", model) << QString(model) << QString("bf16") << 0.005;
    QTest::addRow("%s int8", model) << QString(model) << QString("int8") << 0.01;
    QTest::addRow("%s int4", model) << QString(model) << QString("int4") << 0.04;
  }
}

void CliPrecisionTest::lowerPrecisionCostsLittleAndNoMoreLateThanEarly() {
  QFETCH(QString, model);
  QFETCH(QString, dtype);
  QFETCH(double, most);
  const QString f32 = models_[model]->folder();
  CliResult result = score({"--model", f32, "--against", f32, "--against-dtype", dtype});
  const bool unknown = result.code == 1 && result.err.contains("not in this version");
  // The built-in model is what rounding makes of the f32 one.
  if (unknown && dtype == "bf16") result = score({"--model", f32, "--against", model});
  if (unknown && dtype != "bf16") QSKIP(qPrintable("--dtype " + dtype + ": not in this build"));
  COMPARE_CODE(result, 0);
  const QJsonObject line = result.lines().value(0);
  const QJsonArray buckets = line["buckets"].toArray();
  QCOMPARE(buckets.size(), 8);
  const double change = line["against"]["perplexity_change"].toDouble();
  const double early = changeOver(buckets, 0, 4);
  const double late = changeOver(buckets, 4, 8);
  const double earlyKl = meanOf(buckets, "kl", 0, 4);
  const double lateKl = meanOf(buckets, "kl", 4, 8);
  const QString found = QString("%1 %2: perplexity %3 %4 (early %5, late %6), KL %7 (early %8, late %9)")
                            .arg(model, dtype)
                            .arg(line["perplexity"].toDouble())
                            .arg(change)
                            .arg(early)
                            .arg(late)
                            .arg(line["against"]["kl"].toDouble())
                            .arg(earlyKl)
                            .arg(lateKl);
  qInfo("%s", qPrintable(found));
  QVERIFY2(earlyKl > 0, "the two must differ, or nothing is shown");
  // Not yet met: the smallest model's perplexity on this short text moves by more, though its KL is small.
  if (model == "hawk" && dtype != "bf16") QEXPECT_FAIL("", qPrintable(found), Continue);
  QVERIFY2(change <= most, qPrintable(found));
  // Where errors piled up in the state, the later half would show it: in KL, which chance moves least, and in
  // perplexity.
  QVERIFY2(lateKl <= 1.5 * earlyKl, qPrintable(found));
  QVERIFY2(late <= most && late - early <= most, qPrintable(found));
}

// The measure tells a damaged model from a sound one: hawk is no griffin.
void CliPrecisionTest::aCoarseModelIsFoundOut() {
  const CliResult result = score({"--model", "griffin", "--against", "hawk"});
  COMPARE_CODE(result, 0);
  const QJsonObject line = result.lines().value(0);
  QVERIFY2(line["against"]["kl"].toDouble() > 0.01, result.out);
  QVERIFY2(std::abs(line["against"]["perplexity_change"].toDouble()) > 1e-4, result.out);
}

QTEST_GUILESS_MAIN(CliPrecisionTest)
#include "cli_precision_test.moc"
