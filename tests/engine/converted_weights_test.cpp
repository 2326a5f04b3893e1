#include "engine/converted_weights.h"

#include <QTemporaryDir>
#include <QTest>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>

#include "engine/error.h"
#include "engine/make_model.h"
#include "engine/model.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"
#include "engine/verify/tolerances.h"
#include "engine/weight_cache.h"
#include "engine/weight_mover.h"
#include "kernels/packed_matrix.h"

using namespace eyrie;
using namespace eyrie::engine;
using namespace eyrie::engine::verify;

namespace {

ModelRun runAs(const std::shared_ptr<const Checkpoint>& checkpoint, std::optional<kernels::DType> weights,
               const Feeding& feeding, BackendKind backend = BackendKind::cpu) {
  LoadOptions options;
  options.backend = backend;
  options.weights = weights;
  const auto model = Model::load(checkpoint, options);
  return runModel(*model, TestRandom(6).tokens(40, model->config().V), feeding);
}

// Root mean square of the difference over the spread of what is expected.
double differenceOf(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0;
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double e = double{found[i]} - double{expected[i]};
    difference += e * e;
    sum += double{expected[i]};
    squares += double{expected[i]} * double{expected[i]};
  }
  const auto n = static_cast<double>(expected.size());
  return std::sqrt(difference / (squares - sum * sum / n));
}

// `checkpoint` with its matrices as `bits` bits keep them: each weight rounded to a whole number of steps, a
// step for each 32.
std::shared_ptr<const Checkpoint> coarsened(std::shared_ptr<const Checkpoint> checkpoint, int bits) {
  const auto round = [bits](std::span<float> group) {
    float most = 0;
    for (const float value : group) most = std::max(most, std::abs(value));
    const float step = most / static_cast<float>((1 << (bits - 1)) - 1);
    for (float& value : group) value = step * std::round(value / step);
  };
  return editedCheckpoint(std::move(checkpoint), [=](const std::string& name, std::vector<float>& values) {
    const bool linear = name.ends_with("proj.weight") || name.find(".linear_") != std::string::npos;
    if (!linear || !name.ends_with(".weight")) return;
    for (std::size_t i = 0; i < values.size(); i += 32)
      round(std::span(values).subspan(i, std::min<std::size_t>(32, values.size() - i)));
  });
}

std::vector<std::byte> noise(std::size_t bytes) {
  std::vector<std::byte> data(bytes);
  TestRandom random(9);
  for (std::byte& b : data) b = static_cast<std::byte>(random.bits());
  return data;
}

}  // namespace

class ConvertedWeightsTest : public QObject {
  Q_OBJECT

 private slots:
  void logitsStayNearTheOriginals_data();
  void logitsStayNearTheOriginals();
  void backendsAgree_data() { types(); }
  void backendsAgree();
  void prefillEqualsSteps_data() { types(); }
  void prefillEqualsSteps();
  void theStoredTypeConvertsNothing();
  void aConvertedModelSaysSo();
  void trap37_gatesStayAsStored();
  void stopsAndReportsProgress();
  void movedWeightsAreTheSame();
  void whatWasKeptComesBack();
  void whatIsDamagedIsNotUsed_data();
  void whatIsDamagedIsNotUsed();
  void otherFilesAreNotUsed();
  void aFolderThatCannotBeIsNoError();

 private:
  static void types();
};

void ConvertedWeightsTest::types() {
  QTest::addColumn<int>("type");
  for (const auto type :
       {kernels::DType::bf16, kernels::DType::f16, kernels::DType::int8, kernels::DType::int4})
    QTest::newRow(kernels::dtypeName(type)) << static_cast<int>(type);
}

void ConvertedWeightsTest::logitsStayNearTheOriginals_data() {
  QTest::addColumn<int>("row");        // of kStoredTypes
  QTest::addColumn<int>("damagedTo");  // bits: two or three fewer than the type keeps
  const std::map<kernels::DType, int> bits{{kernels::DType::f16, 9},
                                           {kernels::DType::bf16, 6},
                                           {kernels::DType::int8, 5},
                                           {kernels::DType::int4, 2}};
  for (int row = 0; row < int(std::size(kStoredTypes)); ++row) {
    const kernels::DType type = kStoredTypes[row].dtype;
    QTest::newRow(kernels::dtypeName(type)) << row << bits.at(type);
  }
}

void ConvertedWeightsTest::logitsStayNearTheOriginals() {
  QFETCH(int, row);
  QFETCH(int, damagedTo);
  const StoredTypeTolerance& bound = kStoredTypes[row];
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 5);
  const ModelRun original = runAs(checkpoint, std::nullopt, kPrefill);
  const double difference = differenceOf(runAs(checkpoint, bound.dtype, kPrefill).logits, original.logits);
  QVERIFY2(difference >= bound.least && difference <= bound.logits,
           qPrintable(QStringLiteral("difference %1, expected %2 to %3")
                          .arg(difference)
                          .arg(bound.least)
                          .arg(bound.logits)));
  const auto damaged = coarsened(checkpoint, damagedTo);
  const double broken = differenceOf(runAs(damaged, bound.dtype, kPrefill).logits, original.logits);
  QVERIFY2(broken > bound.logits, qPrintable(QStringLiteral("%1 of a damaged model").arg(broken)));
}

void ConvertedWeightsTest::backendsAgree() {
  QFETCH(int, type);
  const auto to = static_cast<kernels::DType>(type);
  for (const char* pattern : {"RRA", "G"}) {
    const auto checkpoint = randomCheckpoint(tinyConfig(pattern, 4), 5);
    const ModelRun fast = runAs(checkpoint, to, kSteps);
    const ModelRun reference = runAs(checkpoint, to, kSteps, BackendKind::reference);
    const double difference = differenceOf(fast.logits, reference.logits);
    QVERIFY2(difference < 3e-4,
             qPrintable(QStringLiteral("%1: %2").arg(QLatin1String(pattern)).arg(difference)));
  }
}

void ConvertedWeightsTest::prefillEqualsSteps() {
  QFETCH(int, type);
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 5);
  const auto to = static_cast<kernels::DType>(type);
  const ModelRun steps = runAs(checkpoint, to, kSteps);
  for (const Feeding& feeding : {kPrefill, kOddChunks}) {
    // Integer inputs may round the other way where f32 differs in its last bit.
    const double difference = differenceOf(runAs(checkpoint, to, feeding).logits, steps.logits);
    QVERIFY2(difference < 1e-4,
             qPrintable(QStringLiteral("%1: %2").arg(QLatin1String(feeding.name)).arg(difference)));
  }
}

void ConvertedWeightsTest::theStoredTypeConvertsNothing() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 5);  // f32
  LoadOptions options;
  options.weights = kernels::DType::f32;
  const auto model = Model::load(checkpoint, options);
  QCOMPARE(model->fingerprint(), checkpoint->fingerprint());
  QCOMPARE(model->summary().dtype, std::string("f32"));
  QCOMPARE(runAs(checkpoint, kernels::DType::f32, kSteps).logits,
           runAs(checkpoint, std::nullopt, kSteps).logits);
}

void ConvertedWeightsTest::aConvertedModelSaysSo() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 5);
  LoadOptions options;
  const auto original = Model::load(checkpoint, options);
  options.weights = kernels::DType::int8;
  const auto model = Model::load(checkpoint, options);
  QCOMPARE(model->fingerprint(), checkpoint->fingerprint() + "-int8");
  QCOMPARE(model->summary().dtype, std::string("int8"));
  QVERIFY(model->stepBytes() < original->stepBytes());
  QVERIFY(model->summary().weightBytes < original->summary().weightBytes);
}

void ConvertedWeightsTest::trap37_gatesStayAsStored() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 5);
  const auto original = loadWeights(checkpoint);
  kernels::ThreadPool pool(1);
  const auto converted = convertWeights(original, {kernels::DType::int4, {}, {}, {}}, pool);
  QCOMPARE(converted->embedding.data, original->embedding.data);
  QVERIFY(converted->head.dtype == kernels::DType::int4);
  for (std::size_t layerIdx = 0; layerIdx < original->layers.size(); ++layerIdx) {
    const RecurrentWeights& before = original->layers[layerIdx].recurrent;
    const RecurrentWeights& after = converted->layers[layerIdx].recurrent;
    QCOMPARE(after.inputGate.data, before.inputGate.data);
    QCOMPARE(after.recurrenceGate.data, before.recurrenceGate.data);
    QVERIFY(after.inputGate.dtype == kernels::DType::f32 &&
            after.recurrenceGate.dtype == kernels::DType::f32);
    QCOMPARE(after.convWeight, before.convWeight);
    QCOMPARE(after.decayRate, before.decayRate);
    QVERIFY(converted->layers[layerIdx].mlp.down.dtype == kernels::DType::int4);
  }
}

void ConvertedWeightsTest::stopsAndReportsProgress() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 4), 5);
  LoadOptions options;
  options.weights = kernels::DType::int4;
  double last = 0;
  options.progress = [&](double fraction) {
    QVERIFY(fraction > last && fraction <= 1);
    last = fraction;
  };
  Model::load(checkpoint, options);
  QCOMPARE(last, 1.0);
  std::stop_source source;
  options.stop = source.get_token();
  options.progress = [&](double fraction) {
    if (fraction > 0.5) source.request_stop();
  };
  try {
    Model::load(checkpoint, options);
    QFAIL("expected Error(cancelled)");
  } catch (const Error& error) {
    QCOMPARE(error.code(), ErrorCode::cancelled);
  }
}

// From a mapped file, whose pages are dropped meanwhile.
void ConvertedWeightsTest::movedWeightsAreTheSame() {
  const QTemporaryDir folder;
  const std::filesystem::path place = folder.path().toStdString() + "/model";
  makeModel(presetConfig("tiny-griffin"), place);
  const auto checkpoint = Checkpoint::open(place);
  const auto weights = loadWeights(checkpoint);
  WeightMover mover(weights, 0);
  mover.wait();
  Weights before = *weights;
  Weights after = *weights;
  for (std::size_t i = 0; i < after.layers.size(); ++i) after.layers[i] = mover.layer(i);
  after.head = mover.head();
  const auto sources = convertibleMatrices(before);
  const auto copies = convertibleMatrices(after);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    QVERIFY(copies[i]->data != sources[i]->data);
    QCOMPARE(std::memcmp(copies[i]->data, sources[i]->data, std::size_t(kernels::matrixBytes(*sources[i]))),
             0);
  }
  LoadOptions at0;
  at0.movedFrom = 0;
  const auto tokens = TestRandom(6).tokens(300, checkpoint->config().V);
  const ModelRun fromPages = runModel(*Model::load(checkpoint, at0), tokens, kSteps);
  QCOMPARE(fromPages.logits, runModel(*Model::load(checkpoint), tokens, kSteps).logits);
}

void ConvertedWeightsTest::whatWasKeptComesBack() {
  const QTemporaryDir folder;
  const auto checkpoint = randomCheckpoint(tinyConfig("R", 1), 5);
  const std::filesystem::path place = std::filesystem::path(folder.path().toStdString()) / "made" / "here";
  const WeightCache cache(place, *checkpoint, kernels::DType::int8);
  kernels::ThreadPool pool(2);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{5'000'001}}) {
    const std::vector<std::byte> data = noise(bytes);
    std::vector<std::byte> back(bytes);
    cache.write(data, pool, {});
    QVERIFY(cache.read(back, pool, {}));
    QVERIFY(back == data);
    std::vector<std::byte> longer(bytes + 1);
    QVERIFY(!cache.read(longer, pool, {}));
  }
  QCOMPARE(std::distance(std::filesystem::directory_iterator(place), {}), 1);
}

void ConvertedWeightsTest::whatIsDamagedIsNotUsed_data() {
  QTest::addColumn<int>("at");  // byte flipped; below 0: that many cut off the end
  QTest::newRow("magic") << 3;
  QTest::newRow("key") << 9;
  QTest::newRow("length") << 17;
  QTest::newRow("checksum") << 25;
  QTest::newRow("header's padding") << 4000;
  QTest::newRow("first byte") << 4096;
  QTest::newRow("last byte") << 4096 + 99'999;
  QTest::newRow("one byte short") << -1;
  QTest::newRow("half a header") << -(100'000 + 2000);
  QTest::newRow("empty") << -(100'000 + 4096);
}

void ConvertedWeightsTest::whatIsDamagedIsNotUsed() {
  QFETCH(int, at);
  const QTemporaryDir folder;
  const auto checkpoint = randomCheckpoint(tinyConfig("R", 1), 5);
  const WeightCache cache(folder.path().toStdString(), *checkpoint, kernels::DType::int8);
  kernels::ThreadPool pool(1);
  std::vector<std::byte> data = noise(100'000);
  cache.write(data, pool, {});
  QVERIFY(cache.read(data, pool, {}));
  if (at < 0) {
    std::filesystem::resize_file(cache.file(), 4096 + 100'000 + std::uintmax_t(at));
  } else {
    std::fstream file(cache.file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char was = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(was ^ 0x10));
  }
  QVERIFY(!cache.read(data, pool, {}));
}

void ConvertedWeightsTest::otherFilesAreNotUsed() {
  const QTemporaryDir folder;
  const auto checkpoint = randomCheckpoint(tinyConfig("R", 1), 5);
  const auto other = randomCheckpoint(tinyConfig("R", 1), 6);
  const std::string place = folder.path().toStdString();
  const WeightCache cache(place, *checkpoint, kernels::DType::int8);
  kernels::ThreadPool pool(1);
  std::vector<std::byte> data = noise(1000);
  cache.write(data, pool, {});
  QVERIFY(!WeightCache(place, *checkpoint, kernels::DType::int4).read(data, pool, {}));
  const WeightCache others(place, *other, kernels::DType::int8);
  QVERIFY(!others.read(data, pool, {}));
  std::filesystem::copy_file(cache.file(), others.file());
  QVERIFY(!others.read(data, pool, {}));
}

void ConvertedWeightsTest::aFolderThatCannotBeIsNoError() {
  const QTemporaryDir folder;
  const std::filesystem::path place = std::filesystem::path(folder.path().toStdString()) / "file";
  std::ofstream(place) << "in the way";
  const auto checkpoint = randomCheckpoint(tinyConfig("R", 1), 5);
  const WeightCache cache(place / "below", *checkpoint, kernels::DType::int8);
  kernels::ThreadPool pool(1);
  std::vector<std::byte> data = noise(1000);
  cache.write(data, pool, {});
  QVERIFY(!cache.read(data, pool, {}));
}

QTEST_APPLESS_MAIN(ConvertedWeightsTest)
#include "converted_weights_test.moc"
