// What stored precision costs: perplexity and divergence against f32, over eight times the length the
// built-in models were trained at, and not more of it late than early. Bounds: engine/verify/tolerances.h.
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QTest>
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "engine/checkpoint/safetensors.h"
#include "engine/verify/tolerances.h"
#include "kernels/dtype.h"
#include "tests/app/cli_runner.h"

using namespace eyrie;
using namespace eyrie::app::test;
using engine::verify::kDivergenceGrowth;
using engine::verify::kStoredTypes;
using engine::verify::StoredTypeTolerance;

namespace {

constexpr int kTrainedLength = 512;
constexpr int kTokens = 8 * kTrainedLength;  // of one document
constexpr int kDocuments = 2;

QString nameOf(kernels::DType dtype) {
  return QString(kernels::dtypeName(dtype)).toLower();
}

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

// What one precision makes of the documents.
struct Outcome {
  double perplexity = 0;                  // of f32
  std::array<double, 8> change = {};      // of the mean loss by position, in nats
  std::array<double, 8> divergence = {};  // KL by position

  double changeOver(std::size_t from, std::size_t to) const { return std::expm1(mean(change, from, to)); }
  double klOver(std::size_t from, std::size_t to) const { return mean(divergence, from, to); }
  bool within(const StoredTypeTolerance& bound) const {
    const double early = changeOver(0, 4);
    const double late = changeOver(4, 8);
    const double most = std::max({std::abs(changeOver(0, 8)), std::abs(late), std::abs(late - early)});
    return klOver(0, 8) <= bound.divergence && most <= bound.perplexity;
  }
  bool steady() const { return klOver(4, 8) <= kDivergenceGrowth * klOver(0, 4); }
  // As tests/bench/RESULTS.md has it.
  QString byEighths() const {
    QString text = "change of perplexity in %, and KL in thousandths, by eighths:";
    for (const double nats : change) text += QString(" %1").arg(100 * std::expm1(nats), 0, 'f', 2);
    text += ",";
    for (const double nats : divergence) text += QString(" %1").arg(1000 * nats, 0, 'g', 3);
    return text;
  }

 private:
  static double mean(const std::array<double, 8>& values, std::size_t from, std::size_t to) {
    return std::accumulate(values.begin() + std::ptrdiff_t(from), values.begin() + std::ptrdiff_t(to), 0.0) /
           double(to - from);
  }
};

}  // namespace

class CliPrecisionTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase();
  void trap38_lowerPrecisionCostsLittleAndNoMoreLateThanEarly_data();
  void trap38_lowerPrecisionCostsLittleAndNoMoreLateThanEarly();
  void boundsRejectCoarserTypes_data();
  void boundsRejectCoarserTypes();
  void boundsRejectAnotherModel();

 private:
  Outcome outcomeOf(const QString& model, const QStringList& against);
  const Outcome& outcomeAs(const QString& model, kernels::DType dtype);
  Cli cli_;
  QStringList documents_;  // files of token lists
  std::map<QString, std::unique_ptr<UnroundedModel>> models_;
  std::map<std::pair<QString, kernels::DType>, Outcome> outcomes_;  // scored once
};

void CliPrecisionTest::initTestCase() {
  if (builtInModel().isEmpty()) QSKIP("the tree has no built-in model");
  // A book that was kept from training (tests/README.md).
  const CliResult read = cli_.run({"score", "--model", "mqa", "--text-file",
                                   EYRIE_SOURCE_DIR "/tests/app/data/little-wizard-stories.txt",
                                   "--per-token", cli_.file("tokens.jsonl")});
  COMPARE_CODE(read, 0);
  const QList<QByteArray> lines = cli_.read("tokens.jsonl").trimmed().split('\n');
  QVERIFY(lines.size() > kDocuments * kTokens);
  for (int document = 0; document < kDocuments; ++document) {
    QByteArray list = "[2";
    for (int i = 1; i < kTokens; ++i) {
      const auto line = QJsonDocument::fromJson(lines[document * kTokens + i]).object();
      list += "," + QByteArray::number(line["token"].toInt());
    }
    documents_ << cli_.write(QString("tokens%1.json").arg(document), list + "]");
  }
  for (const char* name : {"griffin", "hawk", "mqa"}) {
    models_[name] = std::make_unique<UnroundedModel>(name);
    QVERIFY2(models_[name]->whole(), "the f32 weights must be those that bf16 rounds to the stored ones");
  }
}

Outcome CliPrecisionTest::outcomeOf(const QString& model, const QStringList& against) {
  Outcome outcome;
  double loss = 0;
  for (const QString& document : documents_) {
    const CliResult result = cli_.run(QStringList{"score", "--model", model, "--tokens-file", document,
                                                  "--bucket", QString::number(kTrainedLength), "--against"} +
                                      against);
    const QJsonArray buckets = result.lines().value(0)["buckets"].toArray();
    if (result.code != 0 || std::size_t(buckets.size()) != outcome.change.size()) {
      qCritical("%s", result.text().constData());
      return {};
    }
    for (std::size_t i = 0; i < outcome.change.size(); ++i) {
      const QJsonObject bucket = buckets[qsizetype(i)].toObject();
      const double before = std::log(bucket["perplexity"].toDouble());
      outcome.change[i] += (std::log(bucket["against_perplexity"].toDouble()) - before) / kDocuments;
      outcome.divergence[i] += bucket["kl"].toDouble() / kDocuments;
      loss += before / (kDocuments * double(outcome.change.size()));
    }
  }
  outcome.perplexity = std::exp(loss);
  return outcome;
}

const Outcome& CliPrecisionTest::outcomeAs(const QString& model, kernels::DType dtype) {
  const auto [at, isNew] = outcomes_.try_emplace({model, dtype});
  const QString f32 = models_[model]->folder();
  if (isNew) at->second = outcomeOf(f32, {f32, "--against-dtype", nameOf(dtype)});
  return at->second;
}

void CliPrecisionTest::trap38_lowerPrecisionCostsLittleAndNoMoreLateThanEarly_data() {
  QTest::addColumn<QString>("model");
  QTest::addColumn<int>("row");  // of the table of tolerances
  QTest::addColumn<bool>("steady");
  for (const char* model : {"griffin", "hawk", "mqa"}) {
    // Global attention falls apart beyond the length it was trained at, in whatever precision: what the bound
    // on growth must notice.
    const bool steady = QByteArray(model) != "mqa";
    for (int row = 0; row < int(std::size(kStoredTypes)); ++row) {
      const kernels::DType dtype = kStoredTypes[row].dtype;
      if (dtype == kernels::DType::f16 && QByteArray(model) != "griffin") continue;  // the finest: once
      QTest::addRow("%s %s", model, qPrintable(nameOf(dtype))) << QString(model) << row << steady;
    }
  }
}

void CliPrecisionTest::trap38_lowerPrecisionCostsLittleAndNoMoreLateThanEarly() {
  QFETCH(QString, model);
  QFETCH(int, row);
  QFETCH(bool, steady);
  const StoredTypeTolerance& bound = kStoredTypes[row];
  const Outcome& outcome = outcomeAs(model, bound.dtype);
  const QString found = QString("%1 %2: perplexity %3 %4 (early %5, late %6), KL %7 (early %8, late %9)")
                            .arg(model, nameOf(bound.dtype))
                            .arg(outcome.perplexity)
                            .arg(outcome.changeOver(0, 8))
                            .arg(outcome.changeOver(0, 4))
                            .arg(outcome.changeOver(4, 8))
                            .arg(outcome.klOver(0, 8))
                            .arg(outcome.klOver(0, 4))
                            .arg(outcome.klOver(4, 8));
  qInfo("%s; %s", qPrintable(found), qPrintable(outcome.byEighths()));
  QVERIFY2(outcome.klOver(0, 4) > 0, "the two must differ, or nothing is shown");
  QVERIFY2(outcome.within(bound), qPrintable(found));
  // Where errors piled up in the state, the later half would show it: in KL, which chance moves least.
  QVERIFY2(outcome.steady() == steady, qPrintable(found));
}

void CliPrecisionTest::boundsRejectCoarserTypes_data() {
  QTest::addColumn<QString>("model");
  QTest::addColumn<int>("row");
  for (const char* model : {"griffin", "hawk", "mqa"}) {
    for (int row = 0; row + 1 < int(std::size(kStoredTypes)); ++row)
      QTest::addRow("%s %s", model, qPrintable(nameOf(kStoredTypes[row].dtype))) << QString(model) << row;
  }
}

// KL tells a type from the next; perplexity, which chance moves more, from the coarsest.
void CliPrecisionTest::boundsRejectCoarserTypes() {
  QFETCH(QString, model);
  QFETCH(int, row);
  const StoredTypeTolerance& bound = kStoredTypes[row];
  const Outcome& next = outcomeAs(model, kStoredTypes[row + 1].dtype);
  QVERIFY2(next.klOver(0, 8) > bound.divergence, qPrintable(next.byEighths()));
  if (model == "mqa") return;  // its mean change of perplexity is chance (as above)
  const Outcome& coarsest = outcomeAs(model, std::rbegin(kStoredTypes)->dtype);
  QVERIFY2(coarsest.changeOver(0, 8) > bound.perplexity, qPrintable(coarsest.byEighths()));
}

// The loosest bounds tell a damaged model from a sound one: hawk is no griffin.
void CliPrecisionTest::boundsRejectAnotherModel() {
  const Outcome outcome = outcomeOf("griffin", {"hawk"});
  const StoredTypeTolerance& loosest = *std::rbegin(kStoredTypes);
  QVERIFY2(outcome.klOver(0, 8) > loosest.divergence, qPrintable(outcome.byEighths()));
  QVERIFY2(std::abs(outcome.changeOver(0, 8)) > loosest.perplexity, qPrintable(outcome.byEighths()));
}

QTEST_GUILESS_MAIN(CliPrecisionTest)
#include "cli_precision_test.moc"
