#include "engine/make_model.h"

#include <QtTest/QtTest>
#include <algorithm>
#include <cmath>

#include "engine/checkpoint/checkpoint.h"
#include "engine/error.h"
#include "engine/model.h"
#include "engine/tensor_registry.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
namespace fs = std::filesystem;

class MakeModelTest : public QObject {
  Q_OBJECT
 private slots:
  void tinyPresetsOpen_data();
  void tinyPresetsOpen();
  void paperSizesHaveTheirParameters_data();
  void paperSizesHaveTheirParameters();
  void paperModelsStep_data();
  void paperModelsStep();
  void sameSeedGivesTheSameBytesWhateverTheThreads();
  void shardsCarryAnIndex();
  void trap1_decaysLieOnTheInitialRing();
  void anglesLieInTheInitialRange();
  void everyDtypeIsWritten();
  void refusesAFolderThatIsNotEmpty();
  void refusesADiskThatIsTooSmall();
  void cancelLeavesNothing();
  void unknownPresetNamesTheKnownOnes();

 private:
  fs::path fresh() { return folder_.filePath(QString::number(made_++)).toStdString(); }
  QTemporaryDir folder_;
  int made_ = 0;
};

void MakeModelTest::tinyPresetsOpen_data() {
  QTest::addColumn<QString>("pattern");
  QTest::newRow("tiny-griffin") << "RRARRA";
  QTest::newRow("tiny-griffin-complex") << "RRARRA";
  QTest::newRow("tiny-hawk") << "RRRRRR";
  QTest::newRow("tiny-mqa") << "GGGGGG";
  QTest::newRow("tiny-grouped") << "RRA";
}

void MakeModelTest::tinyPresetsOpen() {
  QFETCH(QString, pattern);
  const fs::path path = fresh();
  const ModelConfig config = presetConfig(QTest::currentDataTag());
  double last = 0;
  MakeModelOptions options;
  options.progress = [&](double fraction) {
    QVERIFY(fraction >= last && fraction <= 1);
    last = fraction;
  };
  makeModel(config, path, options);
  QCOMPARE(last, 1.0);
  const auto checkpoint = Checkpoint::open(path);
  QVERIFY(checkpoint->config() == config);
  QCOMPARE(QString::fromStdString(patternString(checkpoint->config())), pattern);
  QCOMPARE(summarise(*checkpoint).weightBytes, modelBytes(config, eyrie::kernels::DType::bf16));
}

// Millions beside the embedding, by the formula that gives the released RecurrentGemmas' published counts.
void MakeModelTest::paperSizesHaveTheirParameters_data() {
  QTest::addColumn<double>("millions");
  QTest::addColumn<double>("tolerance");
  QTest::newRow("recurrentgemma-2b") << 2027.50208 << 0.0;
  QTest::newRow("recurrentgemma-9b") << 7531.401216 << 0.0;
  struct Row {
    const char* size;
    double mqa, hawk, griffin;
  };
  constexpr std::array<Row, 7> kRows = {{{"100m", 80, 94, 89},
                                         {"200m", 142, 174, 163},
                                         {"400m", 316, 375, 355},
                                         {"1.3b", 1120, 1300, 1240},
                                         {"3b", 2510, 3000, 2840},
                                         {"7b", 5940, 7180, 6790},
                                         {"14b", 11600, 14800, 13800}}};
  for (const Row& row : kRows) {  // as rounded there
    QTest::addRow("mqa-%s", row.size) << row.mqa << 0.006;
    QTest::addRow("hawk-%s", row.size) << row.hawk << 0.006;
    QTest::addRow("griffin-%s", row.size) << row.griffin << 0.006;
  }
}

void MakeModelTest::paperSizesHaveTheirParameters() {
  QFETCH(double, millions);
  QFETCH(double, tolerance);
  const ModelConfig config = presetConfig(QTest::currentDataTag());
  const std::uint64_t parameters = modelBytes(config, eyrie::kernels::DType::bf16) / 2;
  const double found = double(parameters - static_cast<std::uint64_t>(config.V * config.D)) / 1e6;
  QVERIFY2(std::abs(found - millions) <= tolerance * millions, qPrintable(QString::number(found, 'f', 6)));
}

void MakeModelTest::paperModelsStep_data() {
  QTest::addColumn<QString>("pattern");
  QTest::newRow("griffin-100m") << "RRA";
  QTest::newRow("hawk-100m") << "RRR";
  QTest::newRow("mqa-100m") << "GGG";
}

// A sixteenth of the paper's widths, with all of its other properties; 16 gate blocks for 6 heads.
void MakeModelTest::paperModelsStep() {
  QFETCH(QString, pattern);
  ModelConfig config = presetConfig(QTest::currentDataTag());
  QCOMPARE(config.gateBlocks, pattern == "GGG" ? 0 : 16);
  QCOMPARE(config.logitsSoftCap, 0.0F);
  QVERIFY(!config.scaleEmbedding);
  for (std::int64_t* width : {&config.D, &config.R, &config.E, &config.Dh, &config.rotary}) *width /= 16;
  config.L = 3;
  config.blocks.resize(3);
  config.V = 64;
  config.W = 4;
  const fs::path path = fresh();
  makeModel(config, path);
  LoadOptions load;
  load.backend = BackendKind::reference;
  const auto model = Model::load(Checkpoint::open(path), load);
  QVERIFY(model->config() == config);
  QCOMPARE(QString::fromStdString(patternString(model->config())), pattern);
  const std::vector<std::int32_t> tokens = {2, 17, 5, 63, 0, 9, 30, 41};
  SequenceState stepped = model->newState();
  std::vector<float> last;
  for (const std::int32_t token : tokens) {
    const auto logits = model->step(stepped, token);
    last.assign(logits.begin(), logits.end());
  }
  SequenceState read = model->newState();
  QVERIFY(model->prefill(read, tokens, LogitRows::last) == last);
  QVERIFY(std::all_of(last.begin(), last.end(), [](float x) { return std::isfinite(x); }));
}

void MakeModelTest::sameSeedGivesTheSameBytesWhateverTheThreads() {
  std::vector<test::ModelFiles> made;
  for (const auto& [seed, threads] : {std::pair{7, 1}, {7, 2}, {8, 2}}) {
    const fs::path path = fresh();
    MakeModelOptions options;
    options.seed = static_cast<std::uint64_t>(seed);
    options.threads = threads;
    makeModel(presetConfig("tiny-griffin"), path, options);
    made.push_back(test::readFolder(path));
  }
  QVERIFY(made[0] == made[1]);
  QVERIFY(made[0] != made[2]);
}

void MakeModelTest::shardsCarryAnIndex() {
  const test::ModelFiles files = test::smallModel(true);
  QVERIFY(files.contains("model.safetensors.index.json"));
  QVERIFY(files.size() >= 4);
  QVERIFY(!files.contains("model.safetensors"));
}

void MakeModelTest::trap1_decaysLieOnTheInitialRing() {
  const fs::path path = fresh();
  MakeModelOptions options;
  options.dtype = eyrie::kernels::DType::f32;
  makeModel(presetConfig("tiny-hawk"), path, options);
  const auto checkpoint = Checkpoint::open(path);
  const StoredTensor& tensor = checkpoint->tensor("model.layers.0.temporal_block.rg_lru.recurrent_param");
  const auto* p = static_cast<const float*>(tensor.data);
  for (std::size_t i = 0; i < tensor.bytes / 4; ++i) {
    const double radius = std::exp(-std::log1p(std::exp(static_cast<double>(p[i]))));
    QVERIFY2(radius > 0.8999 && radius < 0.9991, qPrintable(QString::number(radius)));
  }
}

void MakeModelTest::anglesLieInTheInitialRange() {
  const fs::path path = fresh();
  MakeModelOptions options;
  options.dtype = eyrie::kernels::DType::f32;
  makeModel(presetConfig("tiny-griffin-complex"), path, options);
  const auto checkpoint = Checkpoint::open(path);
  const StoredTensor& tensor =
      checkpoint->tensor("model.layers.0.temporal_block.rg_lru.recurrent_imag_param");
  const auto* angles = static_cast<const float*>(tensor.data);
  const auto [least, most] = std::minmax_element(angles, angles + tensor.bytes / 4);
  QVERIFY2(*least >= 0 && *least < 0.08F, qPrintable(QString::number(double{*least})));
  QVERIFY2(*most > 0.23F && *most < 0.3142F, qPrintable(QString::number(double{*most})));
}

void MakeModelTest::everyDtypeIsWritten() {
  using eyrie::kernels::DType;
  for (const auto& [dtype, name] :
       {std::pair{DType::f32, "f32"}, {DType::f16, "f16"}, {DType::bf16, "bf16"}}) {
    const fs::path path = fresh();
    MakeModelOptions options;
    options.dtype = dtype;
    makeModel(presetConfig("tiny-hawk"), path, options);
    QCOMPARE(summarise(*Checkpoint::open(path)).dtype, std::string(name));
  }
}

void MakeModelTest::refusesAFolderThatIsNotEmpty() {
  const fs::path path = fresh();
  test::writeFolder(path, {{"precious.txt", "mine"}});
  const std::string message = test::errorOf([&] { makeModel(presetConfig("tiny-hawk"), path); });
  QVERIFY2(message.find("expected a new or empty folder, found files in it") != std::string::npos,
           message.c_str());
  QCOMPARE(test::readFolder(path).size(), 1U);
}

void MakeModelTest::refusesADiskThatIsTooSmall() {
  ModelConfig config = presetConfig("griffin-14b");
  config.V = 1 << 30;  // eleven terabytes
  const fs::path path = fresh();
  const std::string message = test::errorOf([&] { makeModel(config, path); });
  QVERIFY2(message.find("MB free for the model, found") != std::string::npos, message.c_str());
  QVERIFY(!fs::exists(path));
}

void MakeModelTest::cancelLeavesNothing() {
  std::stop_source stop;
  stop.request_stop();
  const fs::path path = fresh();
  MakeModelOptions options;
  options.stop = stop.get_token();
  try {
    makeModel(presetConfig("tiny-hawk"), path, options);
    QFAIL("not cancelled");
  } catch (const Error& error) {
    QVERIFY(error.code() == ErrorCode::cancelled);
  }
  QVERIFY(!fs::exists(path));
}

void MakeModelTest::unknownPresetNamesTheKnownOnes() {
  const QString message = QString::fromStdString(test::errorOf([] { presetConfig("gpt"); }));
  for (const char* name : {"recurrentgemma-2b", "recurrentgemma-9b", "griffin-paper-7b", "hawk-paper-7b",
                           "mqa-1.3b", "griffin-14b", "tiny-griffin"})
    QVERIFY2(message.contains(name), qPrintable(message));
}

QTEST_GUILESS_MAIN(MakeModelTest)
#include "make_model_test.moc"
