#include "engine/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <QtTest/QtTest>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "engine/make_model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/weights.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using test::ModelFiles;
namespace fs = std::filesystem;

namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";

// A copy of the head with one value changed in its last row.
std::string changedHead(const test::RawSafetensors& raw) {
  std::string bytes = test::tensorBytes(raw, kEmbedding);
  bytes[bytes.size() - 1] = static_cast<char>(bytes[bytes.size() - 1] ^ 1);
  return bytes;
}

}  // namespace

class CheckpointTest : public QObject {
  Q_OBJECT
 private slots:
  void opensEveryGoldenSet_data();
  void opensEveryGoldenSet();
  void trap13_everyTensorIsAccountedFor();
  void trap15_doubledWidthIsCheckedAgainstGateProj();
  void trap19_headAbsentOrEqualIsTheEmbedding();
  void trap19_equalHeadInAnotherDtypeIsACopy();
  void differentHeadIsUsedWhereUntied();
  void differentHeadIsAnErrorWhereTied();
  void untiedHeadMustExist();
  void largeHeadIsComparedToItsEnd();
  void gateBlocksAreCountedFromTheTensor();
  void complexRecurrenceNeedsItsImaginaryParameter();
  void unalignedTensorsAreCopied();
  void symbolicLinksAreFollowed();
  void fingerprintTellsModelsApart();
  void unusualFilesAreRefused();
  void summaryCounts();
  void builtInModelsOpenWithTheirTokenizers();

 private:
  std::shared_ptr<const Checkpoint> open(const ModelFiles& files);
  QTemporaryDir folder_;
  int made_ = 0;
};

std::shared_ptr<const Checkpoint> CheckpointTest::open(const ModelFiles& files) {
  const fs::path path = folder_.filePath(QString::number(made_++)).toStdString();
  test::writeFolder(path, files);
  return Checkpoint::open(path);
}

void CheckpointTest::opensEveryGoldenSet_data() {
  QTest::addColumn<qint64>("gateBlocks");
  QTest::addColumn<qint64>("parameters");
  QTest::newRow("griffin-tiny") << qint64{4} << qint64{333'248};
  QTest::newRow("hawk-tiny") << qint64{3} << qint64{123'536};
  QTest::newRow("griffin-bf16-sharded") << qint64{8} << qint64{257'408};
  QTest::newRow("griffin-long") << qint64{2} << qint64{34'208};
  QTest::newRow("mqa-global") << qint64{0} << qint64{149'568};
  QTest::newRow("griffin-complex") << qint64{4} << qint64{38'792};
  QTest::newRow("hf-community") << qint64{4} << qint64{165'312};
}

void CheckpointTest::opensEveryGoldenSet() {
  QFETCH(qint64, gateBlocks);
  QFETCH(qint64, parameters);
  const auto checkpoint =
      Checkpoint::open(fs::path(EYRIE_SOURCE_DIR "/tests/golden") / QTest::currentDataTag());
  QCOMPARE(checkpoint->config().gateBlocks, gateBlocks);
  QCOMPARE(summarise(*checkpoint).parameters, parameters);
  QCOMPARE(checkpoint->outputHead().name, std::string(kEmbedding));
  QVERIFY(checkpoint->find("lm_head.weight") == nullptr);  // griffin-bf16-sharded carries a duplicate
}

void CheckpointTest::trap13_everyTensorIsAccountedFor() {
  const ModelFiles files = test::smallModel();
  const auto whole = open(files);
  for (const StoredTensor& tensor : whole->tensors()) {
    ModelFiles less = files;
    test::editTensors(less, [&](test::RawSafetensors& raw) { test::removeTensor(raw, tensor.name); });
    const std::string message = test::errorOf([&] { open(less); });
    QVERIFY2(message.find(tensor.name) != std::string::npos &&
                 message.find("found no such tensor") != std::string::npos,
             message.c_str());
  }
  ModelFiles more = files;
  test::editTensors(more, [](test::RawSafetensors& raw) {
    test::addTensor(raw, "model.layers.2.temporal_block.q_proj.bias", "BF16", {16}, std::string(32, '\0'));
  });
  const std::string message = test::errorOf([&] { open(more); });
  QVERIFY2(message.find("model.layers.2.temporal_block.q_proj.bias: expected only") != std::string::npos,
           message.c_str());
}

void CheckpointTest::trap15_doubledWidthIsCheckedAgainstGateProj() {
  ModelFiles files = test::smallModel();
  test::editConfig(files, [](auto& config) { config["intermediate_size"] = 20; });  // not doubled
  const QString message = QString::fromStdString(test::errorOf([&] { open(files); }));
  QVERIFY2(message.contains(
               "mlp_block.gate_proj.weight: expected shape [10, 16] = [intermediate_size / 2, hidden_size]"),
           qPrintable(message));
}

void CheckpointTest::trap19_headAbsentOrEqualIsTheEmbedding() {
  const auto absent = open(test::smallModel());
  ModelFiles files = test::smallModel();
  test::editTensors(files, [](test::RawSafetensors& raw) {
    test::addTensor(raw, "lm_head.weight", "BF16", {32, 16}, test::tensorBytes(raw, kEmbedding));
  });
  const auto equal = open(files);
  for (const auto& checkpoint : {absent, equal}) {
    QCOMPARE(checkpoint->outputHead().data, checkpoint->tensor(kEmbedding).data);
    QVERIFY(checkpoint->find("lm_head.weight") == nullptr);
  }
  QCOMPARE(summarise(*equal).weightBytes, summarise(*absent).weightBytes);
  QCOMPARE(equal->fingerprint(), absent->fingerprint());
}

void CheckpointTest::trap19_equalHeadInAnotherDtypeIsACopy() {
  ModelFiles files = test::smallModel();
  test::editTensors(files, [](test::RawSafetensors& raw) {
    const std::string halves = test::tensorBytes(raw, kEmbedding);
    std::string wide;
    for (std::size_t i = 0; i < halves.size(); i += 2) wide += std::string(2, '\0') + halves.substr(i, 2);
    test::addTensor(raw, "lm_head.weight", "F32", {32, 16}, wide);
  });
  QCOMPARE(open(files)->outputHead().name, std::string(kEmbedding));
}

void CheckpointTest::differentHeadIsUsedWhereUntied() {
  ModelFiles files = test::smallModel();
  test::editConfig(files, [](auto& config) { config["tie_word_embeddings"] = false; });
  test::editTensors(files, [](test::RawSafetensors& raw) {
    test::addTensor(raw, "lm_head.weight", "BF16", {32, 16}, changedHead(raw));
  });
  const auto checkpoint = open(files);
  QCOMPARE(checkpoint->outputHead().name, std::string("lm_head.weight"));
  QVERIFY(checkpoint->outputHead().data != checkpoint->tensor(kEmbedding).data);
  QCOMPARE(summarise(*checkpoint).embeddingParameters, 2 * 32 * 16);
}

void CheckpointTest::differentHeadIsAnErrorWhereTied() {
  for (const bool stated : {true, false}) {
    ModelFiles files = test::smallModel();
    test::editConfig(files, [&](auto& config) {
      config.erase("tie_word_embeddings");
      if (stated) config["tie_word_embeddings"] = true;
    });
    test::editTensors(files, [](test::RawSafetensors& raw) {
      test::addTensor(raw, "lm_head.weight", "BF16", {32, 16}, changedHead(raw));
    });
    const QString message = QString::fromStdString(test::errorOf([&] { open(files); }));
    QVERIFY2(message.contains("lm_head.weight: expected a copy") && message.contains("tie_word_embeddings"),
             qPrintable(message));
  }
}

void CheckpointTest::untiedHeadMustExist() {
  ModelFiles files = test::smallModel();
  test::editConfig(files, [](auto& config) { config["tie_word_embeddings"] = false; });
  const QString message = QString::fromStdString(test::errorOf([&] { open(files); }));
  QVERIFY2(message.contains("lm_head.weight: expected it since tie_word_embeddings is false"),
           qPrintable(message));
}

void CheckpointTest::largeHeadIsComparedToItsEnd() {
  ModelConfig config = test::smallConfig();
  config.V = 150'000;  // 4.8 MB: beyond what opening compares
  const fs::path path = folder_.filePath("large").toStdString();
  makeModel(config, path, {});
  ModelFiles files = test::readFolder(path);
  test::editTensors(files, [](test::RawSafetensors& raw) {
    test::addTensor(raw, "lm_head.weight", "BF16", {150'000, 16}, changedHead(raw));
  });
  const auto checkpoint = open(files);
  QVERIFY_EXCEPTION_THROWN(checkpoint->outputHead(), Error);
  QVERIFY_EXCEPTION_THROWN(checkpoint->outputHead(), Error);
}

void CheckpointTest::gateBlocksAreCountedFromTheTensor() {
  const auto checkpoint = open(test::smallModel());
  QCOMPARE(checkpoint->config().gateBlocks, 3);  // heads are 2
  ModelFiles files = test::smallModel();
  test::editTensors(files, [](test::RawSafetensors& raw) {
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".temporal_block.rg_lru.";
      for (const char* gate : {"input_gate_weight", "recurrent_gate_weight"})
        raw.header[prefix + gate]["shape"] = {192, 1, 1};
    }
  });
  const QString message = QString::fromStdString(test::errorOf([&] { open(files); }));
  QVERIFY2(
      message.contains(
          "rg_lru.input_gate_weight: expected a shape [blocks, in, out] whose blocks divide lru_width 24"),
      qPrintable(message));
}

void CheckpointTest::complexRecurrenceNeedsItsImaginaryParameter() {
  const std::string name = "model.layers.0.temporal_block.rg_lru.recurrent_imag_param";
  const ModelFiles complex = test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/griffin-complex");
  const auto messageOf = [&](const std::function<void(ModelFiles&)>& damage) {
    ModelFiles files = complex;
    damage(files);
    return QString::fromStdString(test::errorOf([&] { loadWeights(open(files)); }));
  };
  QCOMPARE(messageOf([](ModelFiles&) {}), QString());
  const QString missing = messageOf([&](ModelFiles& files) {
    test::editTensors(files, [&](test::RawSafetensors& raw) { test::removeTensor(raw, name); });
  });
  QVERIFY2(missing.contains("recurrent_imag_param: expected [20] = [lru_width / 2], found no such tensor"),
           qPrintable(missing));
  const QString square = messageOf([](ModelFiles& files) {
    test::editTensors(files, [](test::RawSafetensors& raw) {
      raw.header["model.layers.1.temporal_block.rg_lru.recurrent_gate_weight"]["shape"] = {2, 10, 10};
    });
  });
  QVERIFY2(
      square.contains("recurrent_gate_weight: expected shape [4, 10, 5] = [gate blocks, lru_width / gate "
                      "blocks, lru_width / 2 / gate blocks] by config.json, found [2, 10, 10]"),
      qPrintable(square));
  const QString real = messageOf([](ModelFiles& files) {
    test::editConfig(files, [](auto& config) { config["eyrie"]["rg_lru"] = "real"; });
  });
  QVERIFY2(
      real.contains("rg_lru.recurrent_param: expected shape [40] = [lru_width] by config.json, found [20]"),
      qPrintable(real));
  for (const float angle : {NAN, INFINITY, -4e4F}) {
    const QString wild = messageOf([&](ModelFiles& files) {
      test::editTensors(files, [&](test::RawSafetensors& raw) {
        const auto begin = raw.header[name]["data_offsets"][0].get<std::size_t>();
        std::memcpy(raw.data.data() + begin, &angle, sizeof angle);
      });
    });
    QVERIFY2(wild.contains("recurrent_imag_param: expected angles of at most 39000 either way, found"),
             qPrintable(wild));
  }
}

void CheckpointTest::unalignedTensorsAreCopied() {
  ModelFiles files = test::smallModel();
  std::string& bytes = files["model.safetensors"];
  const std::size_t headerEnd =
      8U + static_cast<unsigned char>(bytes[0]) + 256U * static_cast<unsigned char>(bytes[1]);
  bytes = bytes.substr(0, headerEnd) + std::string(1, ' ') + bytes.substr(headerEnd);
  bytes[0] = static_cast<char>(bytes[0] + 1);
  const auto straight = open(test::smallModel());
  const auto shifted = open(files);
  for (const StoredTensor& tensor : shifted->tensors()) {
    QCOMPARE(reinterpret_cast<std::uintptr_t>(tensor.data) % 2, 0U);
    QCOMPARE(std::memcmp(tensor.data, straight->tensor(tensor.name).data, tensor.bytes), 0);
  }
  QCOMPARE(shifted->fingerprint(), straight->fingerprint());
}

void CheckpointTest::symbolicLinksAreFollowed() {
  const fs::path blobs = folder_.filePath("blobs").toStdString();
  const fs::path snapshot = folder_.filePath("snapshot").toStdString();
  test::writeFolder(blobs, test::smallModel(true));
  fs::create_directories(snapshot);
  for (const auto& entry : fs::directory_iterator(blobs))
    fs::create_symlink(fs::path("../blobs") / entry.path().filename(), snapshot / entry.path().filename());
  QCOMPARE(Checkpoint::open(snapshot)->fingerprint(), Checkpoint::open(blobs)->fingerprint());
}

void CheckpointTest::fingerprintTellsModelsApart() {
  const std::string base = open(test::smallModel())->fingerprint();
  QCOMPARE(base.size(), 32U);
  QCOMPARE(open(test::smallModel(true))->fingerprint(), base);  // sharding is no difference
  ModelFiles window = test::smallModel();
  test::editConfig(window, [](auto& config) { config["attention_window_size"] = 9; });
  QVERIFY(open(window)->fingerprint() != base);
  ModelFiles weight = test::smallModel();
  weight["model.safetensors"].back() = static_cast<char>(weight["model.safetensors"].back() ^ 1);
  QVERIFY(open(weight)->fingerprint() != base);
}

void CheckpointTest::unusualFilesAreRefused() {
  const fs::path root = folder_.path().toStdString();
  const auto expectError = [&](const fs::path& path, const char* what) {
    const std::string message = test::errorOf([&] { Checkpoint::open(path); });
    QVERIFY2(message.find(what) != std::string::npos, message.c_str());
  };
  expectError(root / "nowhere", "expected a model folder, found nothing");
  test::writeBytes(root / "file", "x");
  expectError(root / "file", "expected a model folder, found a file");
  fs::create_directories(root / "empty");
  const char* const noWeights =
      "expected model.safetensors, model.safetensors.index.json or a single other .safetensors file, found "
      "none";
  expectError(root / "empty", noWeights);
  test::writeFolder(root / "weights", {{"model.safetensors", test::smallModel().at("model.safetensors")}});
  expectError(root / "weights", "config.json: cannot be opened");
  test::writeFolder(root / "pipe", {{"config.json", test::smallModel().at("config.json")}});
  expectError(root / "pipe", noWeights);
  QCOMPARE(::mkfifo((root / "pipe" / "model.safetensors").c_str(), 0600), 0);
  expectError(root / "pipe", "model.safetensors: expected a regular file, found a device or pipe");
  fs::remove(root / "pipe" / "model.safetensors");
  fs::create_directories(root / "pipe" / "model.safetensors");
  expectError(root / "pipe", "model.safetensors: expected a regular file, found a folder");
}

void CheckpointTest::summaryCounts() {
  const ModelSummary summary = summarise(*open(test::smallModel()));
  QCOMPARE(summary.dtype, std::string("bf16"));
  QCOMPARE(summary.weightBytes, static_cast<std::uint64_t>(2 * summary.parameters));
  QCOMPARE(summary.embeddingParameters, 32 * 16);
  // Two recurrent layers: h and three rows of tail; one of attention: 8 keys and values of 16 floats (2
  // heads).
  QCOMPARE(summary.stateBytes, static_cast<std::uint64_t>(2 * 4 * 24 * 4 + 2 * 8 * 1 * 8 * 4));
  // Widened to f32: norms, biases, gate biases, convolutions, decays.
  const std::uint64_t perLayer = 16 + 16 + 20 + 20 + 16;
  QCOMPARE(summary.extraBytes,
           4 * (3 * perLayer + 2 * (24 + 24 + 24 * 4 + 24 + 24 + 24 + 24 + 16) + 16 + 16));
  QVERIFY(!summary.hasTokenizer);
  ModelFiles files = test::smallModel();
  files["tokenizer.model"] = test::readBytes(EYRIE_SOURCE_DIR "/tests/engine/tokenizer/data/tiny-bpe.model");
  QVERIFY(summarise(*open(files)).hasChatTemplate);
}

void CheckpointTest::builtInModelsOpenWithTheirTokenizers() {
  int opened = 0;
  for (const auto& entry : fs::directory_iterator(EYRIE_SOURCE_DIR "/assets/models")) {
    if (!entry.is_directory()) continue;
    const auto checkpoint = Checkpoint::open(entry.path());
    QVERIFY2(!checkpoint->outputHead().name.empty(), entry.path().c_str());
    const auto tokenizer = Tokenizer::loadFor(entry.path(), checkpoint->config().V);
    ++opened;
    if (!tokenizer) continue;
    // trap 46 on the vocabularies that are shipped
    for (const char* marker : {"<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"}) {
      QVERIFY2(tokenizer->controlToken(marker), marker);
      for (const std::int32_t id : tokenizer->encode(marker)) QVERIFY2(!tokenizer->isControl(id), marker);
    }
    QCOMPARE(tokenizer->decode(tokenizer->encode("A hawk\n remembers.")), std::string("A hawk\n remembers."));
  }
  if (opened == 0) QSKIP("no built-in models in this tree");
}

QTEST_GUILESS_MAIN(CheckpointTest)
#include "checkpoint_test.moc"
