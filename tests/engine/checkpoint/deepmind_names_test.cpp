// Checkpoints with DeepMind's tensor names. The bytes are laid out here by the published layouts, tensor by
// tensor, from a model in Hugging Face's layout: both must be one and the same model.
#include "engine/checkpoint/deepmind_names.h"

#include <QtTest/QtTest>
#include <algorithm>
#include <cstring>

#include "engine/checkpoint/checkpoint.h"
#include "engine/error.h"
#include "engine/make_model.h"
#include "engine/model.h"
#include "engine/weights.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using test::ModelFiles;
using test::RawSafetensors;
namespace fs = std::filesystem;

namespace {

struct Plain {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

// The matrix (rows, cols) of `bytes` turned.
std::string turned(const std::string& bytes, std::int64_t rows, std::int64_t cols) {
  const std::size_t element = bytes.size() / static_cast<std::size_t>(rows * cols);
  std::string out;
  for (std::int64_t c = 0; c < cols; ++c)
    for (std::int64_t r = 0; r < rows; ++r)
      out += bytes.substr(static_cast<std::size_t>(r * cols + c) * element, element);
  return out;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// DeepMind's name of a tensor that keeps its form.
std::string renamed(const std::string& name, bool recurrent) {
  std::string out = replaced(name, "model.layers.", "blocks.");
  out = replaced(out, "model.", "");
  out = replaced(out, "temporal_block", recurrent ? "recurrent_block" : "attention_block");
  out = replaced(out, "embed_tokens.weight", "embedder.input_embedding");
  for (const char* norm : {"temporal_pre_norm", "channel_pre_norm", "final_norm"})
    out = replaced(out, std::string(norm) + ".weight", std::string(norm) + ".scale");
  out = replaced(out, "conv_1d.bias", "conv_1d.b");
  out = replaced(out, "recurrent_param", "a_param");
  out = replaced(out, "recurrent_imag_param", "a_imag_param");
  for (const auto& [from, to] : {std::pair("input_gate", "input_gate"), {"recurrent_gate", "a_gate"}}) {
    out = replaced(out, std::string(from) + "_weight", std::string(to) + ".w");
    out = replaced(out, std::string(from) + "_bias", std::string(to) + ".b");
  }
  for (const char* projection : {"q", "k", "v"})
    out = replaced(out, std::string(projection) + "_proj", std::string("proj_") + projection);
  out = replaced(out, "o_proj", "proj_final");
  return replaced(out, "down_proj", "ffw_down");
}

// All tensors of model.safetensors in DeepMind's layout; `flax` for Flax's kernels.
RawSafetensors inDeepMindLayout(const RawSafetensors& huggingFace, bool flax) {
  RawSafetensors out;
  const auto plain = [&](const std::string& name) {
    const auto& entry = huggingFace.header.at(name);
    return Plain{entry["dtype"], entry["shape"], test::tensorBytes(huggingFace, name)};
  };
  for (const auto& [name, entry] : huggingFace.header.items()) {
    if (name == "__metadata__" || name.find("up_proj") != std::string::npos) continue;
    Plain tensor = plain(name);
    const std::string layer = name.substr(0, name.find('.', std::string("model.layers.").size()));
    std::string to = renamed(name, huggingFace.header.contains(layer + ".temporal_block.linear_x.weight"));
    if (name.ends_with("conv_1d.weight")) {
      tensor.bytes = turned(tensor.bytes, tensor.shape[0], tensor.shape[2]);
      tensor.shape = {tensor.shape[2], tensor.shape[0]};
      to = replaced(to, "conv_1d.weight", "conv_1d.w");
    } else if (name.ends_with("gate_proj.weight")) {
      const Plain up = plain(replaced(name, "gate_proj", "up_proj"));
      tensor.bytes =
          turned(tensor.bytes, tensor.shape[0], tensor.shape[1]) + turned(up.bytes, up.shape[0], up.shape[1]);
      tensor.shape = {2, tensor.shape[1], tensor.shape[0]};
      to = replaced(to, "gate_proj.weight", "ffw_up.w");
    } else if (name.ends_with("gate_proj.bias")) {
      tensor.bytes += plain(replaced(name, "gate_proj", "up_proj")).bytes;
      tensor.shape = {2, 1, 1, tensor.shape[0]};
      to = replaced(to, "gate_proj.bias", "ffw_up.b");
    } else if (flax && to.ends_with(".weight")) {
      tensor.bytes = turned(tensor.bytes, tensor.shape[0], tensor.shape[1]);
      std::swap(tensor.shape[0], tensor.shape[1]);
      to = replaced(to, ".weight", ".kernel");
    }
    test::addTensor(out, to, tensor.dtype, tensor.shape, tensor.bytes);
  }
  return out;
}

// The folder with DeepMind's names, and a config.json of what they do not tell.
ModelFiles deepMindFiles(const ModelFiles& huggingFace, bool flax = false) {
  const auto raw = RawSafetensors::parse(huggingFace.at("model.safetensors"));
  const auto config = nlohmann::json::parse(huggingFace.at("config.json"));
  nlohmann::json rest;
  for (const char* key : {"attention_window_size", "logits_soft_cap", "embeddings_scale_by_sqrt_dim"})
    rest[key] = config.at(key);
  return {{"griffin.safetensors", inDeepMindLayout(raw, flax).bytes()}, {"config.json", rest.dump()}};
}

// Names in the ways that people flatten a Flax tree.
ModelFiles respelt(ModelFiles files, const std::string& root, char separator) {
  RawSafetensors raw = RawSafetensors::parse(files.at("griffin.safetensors"));
  nlohmann::ordered_json header;
  for (const auto& [name, entry] : raw.header.items()) {
    std::string to = name;
    if (separator == '/') {
      std::replace(to.begin(), to.end(), '.', '/');
      to = replaced(to, "blocks/", "blocks.");  // "blocks.0" is one key of the tree
    }
    header[root + to] = entry;
  }
  raw.header = header;
  files["griffin.safetensors"] = raw.bytes();
  return files;
}

std::vector<float> logitsOf(const std::shared_ptr<const Checkpoint>& checkpoint, HostState& state) {
  LoadOptions load;
  load.backend = BackendKind::reference;
  const auto model = Model::load(checkpoint, load);
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 40; ++i)
    tokens.push_back(static_cast<std::int32_t>((i * 7 + 2) % checkpoint->config().V));
  SequenceState sequence = model->newState();
  std::vector<float> logits = model->prefill(sequence, tokens, LogitRows::last);
  state = sequence.download();
  return logits;
}

}  // namespace

class DeepMindNamesTest : public QObject {
  Q_OBJECT
 private slots:
  void bothLayoutsAreOneModel_data();
  void bothLayoutsAreOneModel();
  void onlyTurnedMatricesAreCopied();
  void presetSaysWhatTensorsDoNot_data();
  void presetSaysWhatTensorsDoNot();
  void completeConfigurationLeavesTheRestToItsDefaults();
  void whatIsMissingIsAskedForByName();
  void presetsThatDoNotFitAreRefused();
  void fileMayHaveAnyNameIfItIsAlone();
  void trap13_everyTensorIsAccountedFor();
  void damageIsNamed_data();
  void damageIsNamed();

 private:
  fs::path written(const ModelFiles& files);
  std::shared_ptr<const Checkpoint> open(const ModelFiles& files, const std::string& preset = {}) {
    return Checkpoint::open(written(files), preset);
  }
  QTemporaryDir folder_;
  int made_ = 0;
};

fs::path DeepMindNamesTest::written(const ModelFiles& files) {
  const fs::path path = folder_.filePath(QString::number(made_++)).toStdString();
  test::writeFolder(path, files);
  return path;
}

void DeepMindNamesTest::bothLayoutsAreOneModel_data() {
  QTest::addColumn<QString>("golden");  // empty: the small bf16 model
  QTest::addColumn<bool>("flax");
  QTest::addColumn<QString>("root");
  QTest::addColumn<bool>("slashes");
  QTest::newRow("PyTorch, bf16") << "" << false << "" << false;
  QTest::newRow("PyTorch, Griffin") << "griffin-tiny" << false << "" << false;
  QTest::newRow("PyTorch, Hawk") << "hawk-tiny" << false << "" << false;
  QTest::newRow("Flax, bf16") << "" << true << "" << false;
  QTest::newRow("Flax, Griffin") << "griffin-tiny" << true << "params." << false;
  QTest::newRow("PyTorch, complex") << "griffin-complex" << false << "" << false;
  QTest::newRow("Flax, complex") << "griffin-complex" << true << "" << false;
  QTest::newRow("Flax, Hawk, slashes") << "hawk-tiny" << true << "params/" << true;
}

void DeepMindNamesTest::bothLayoutsAreOneModel() {
  QFETCH(QString, golden);
  QFETCH(bool, flax);
  QFETCH(QString, root);
  QFETCH(bool, slashes);
  const ModelFiles huggingFace =
      golden.isEmpty() ? test::smallModel()
                       : test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/" + golden.toStdString());
  const auto plain = open(huggingFace);
  const auto deepMind =
      open(respelt(deepMindFiles(huggingFace, flax), root.toStdString(), slashes ? '/' : '.'));
  QCOMPARE(deepMind->config().gateBlocks, plain->config().gateBlocks);
  QCOMPARE(patternString(deepMind->config()), patternString(plain->config()));
  QCOMPARE(deepMind->tensors().size(), plain->tensors().size());
  for (const StoredTensor& tensor : plain->tensors()) {
    const StoredTensor& other = deepMind->tensor(tensor.name);
    QVERIFY2(other.shape == tensor.shape && other.bytes == tensor.bytes, tensor.name.c_str());
    std::string bytes(other.bytes, '\0');
    copyElements(other, 0, other.bytes / eyrie::kernels::dtypeSize(other.dtype),
                 reinterpret_cast<std::byte*>(bytes.data()));
    QVERIFY2(std::memcmp(bytes.data(), tensor.data, bytes.size()) == 0, tensor.name.c_str());
  }
  HostState stateOfPlain;
  HostState stateOfDeepMind;
  QVERIFY(logitsOf(plain, stateOfPlain) == logitsOf(deepMind, stateOfDeepMind));
  QCOMPARE(stateOfDeepMind.layers.size(), stateOfPlain.layers.size());
  for (std::size_t i = 0; i < stateOfPlain.layers.size(); ++i) {
    const LayerState& a = stateOfPlain.layers[i];
    const LayerState& b = stateOfDeepMind.layers[i];
    QVERIFY(a.h == b.h && a.tail == b.tail && a.keys == b.keys && a.values == b.values);
  }
  if (patternString(plain->config()).find('A') != std::string::npos)  // a Hawk's heads say nothing
    QCOMPARE(deepMind->fingerprint(), plain->fingerprint());
}

void DeepMindNamesTest::onlyTurnedMatricesAreCopied() {
  for (const bool flax : {false, true}) {
    const auto checkpoint = open(deepMindFiles(test::smallModel(), flax));
    const auto weights = loadWeights(checkpoint);
    const auto mapped = [&](const char* name, const void* data) {
      return checkpoint->tensor(name).data == data;
    };
    const LayerWeights& layer = weights->layers[0];
    QVERIFY(mapped("model.embed_tokens.weight", weights->embedding.data));
    QVERIFY(mapped("model.layers.0.temporal_block.rg_lru.input_gate_weight", layer.recurrent.inputGate.data));
    QVERIFY(mapped("model.layers.0.temporal_block.linear_x.weight", layer.recurrent.linearX.data) != flax);
    QVERIFY(mapped("model.layers.0.mlp_block.down_proj.weight", layer.mlp.down.data) != flax);
    QVERIFY(!mapped("model.layers.0.mlp_block.gate_proj.weight", layer.mlp.gate.data));
    std::uint64_t copied = 0;
    for (const auto& copy : weights->turned) copied += copy->size();
    const std::uint64_t plainExtra = summarise(*open(test::smallModel())).extraBytes;
    QCOMPARE(summarise(*checkpoint).extraBytes, plainExtra + copied);
  }
  QVERIFY(loadWeights(open(test::smallModel()))->turned.empty());
}

void DeepMindNamesTest::presetSaysWhatTensorsDoNot_data() {
  QTest::addColumn<bool>("flax");
  QTest::newRow("tiny-griffin") << false;
  QTest::newRow("tiny-hawk") << true;
}

void DeepMindNamesTest::presetSaysWhatTensorsDoNot() {
  QFETCH(bool, flax);
  const std::string preset = QTest::currentDataTag();
  const fs::path made = folder_.filePath(preset.c_str()).toStdString();
  makeModel(presetConfig(preset), made);
  ModelFiles files = deepMindFiles(test::readFolder(made), flax);
  files.erase("config.json");
  ModelConfig config = open(files, preset)->config();
  if (!config.hasKind(BlockKind::localAttention)) {  // gate blocks stand for a Hawk's heads
    QCOMPARE(config.H, config.gateBlocks);
    const ModelConfig known = presetConfig(preset);
    config.H = known.H, config.Dh = known.Dh, config.rotary = known.rotary;
  }
  QVERIFY(config == presetConfig(preset));
  files["config.json"] = R"({"attention_window_size": 5, "eos_token_id": [1, 9], "logits_soft_cap": null})";
  const ModelConfig bent = open(files, preset)->config();  // what the file says wins
  QCOMPARE(bent.W, 5);
  QCOMPARE(bent.logitsSoftCap, 0.0F);
  QVERIFY(bent.scaleEmbedding);
  QCOMPARE(bent.eosTokens.size(), 2U);
}

void DeepMindNamesTest::completeConfigurationLeavesTheRestToItsDefaults() {
  const ModelFiles huggingFace = test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/griffin-tiny");
  ModelFiles files = deepMindFiles(huggingFace);
  files["config.json"] = huggingFace.at("config.json");
  test::editConfig(files, [](auto& config) { config.erase("logits_soft_cap"); });
  QCOMPARE(open(files)->config().logitsSoftCap, 30.0F);
  test::editConfig(files, [](auto& config) { config["hidden_size"] = 128; });
  const std::string message = test::errorOf([&] { open(files); });
  QVERIFY2(message.find("embedder.input_embedding: expected shape [160, 128]") != std::string::npos,
           message.c_str());
}

void DeepMindNamesTest::whatIsMissingIsAskedForByName() {
  ModelFiles griffin = deepMindFiles(test::smallModel());
  griffin["config.json"] = R"({"logits_soft_cap": 30})";
  const std::string message = test::errorOf([&] { open(griffin); });
  for (const char* part :
       {"attention_window_size, embeddings_scale_by_sqrt_dim: expected", "config.json", "--preset"})
    QVERIFY2(message.find(part) != std::string::npos, message.c_str());
  ModelFiles hawk = deepMindFiles(test::readFolder(EYRIE_SOURCE_DIR "/tests/golden/hawk-tiny"));
  hawk.erase("config.json");
  const std::string ofHawk = test::errorOf([&] { open(hawk); });
  QVERIFY2(ofHawk.find("logits_soft_cap, embeddings_scale_by_sqrt_dim") != std::string::npos &&
               ofHawk.find("attention_window_size") == std::string::npos,
           ofHawk.c_str());
}

void DeepMindNamesTest::presetsThatDoNotFitAreRefused() {
  const ModelFiles files = deepMindFiles(test::smallModel());
  const std::string other = test::errorOf([&] { open(files, "recurrentgemma-2b"); });
  QVERIFY2(other.find("preset recurrentgemma-2b: width: expected 2560, found 16") != std::string::npos,
           other.c_str());
  const std::string plain = test::errorOf([&] { open(test::smallModel(), "tiny-griffin"); });
  QVERIFY2(plain.find("expected tensors with DeepMind's names") != std::string::npos, plain.c_str());
  const std::string unknown = test::errorOf([&] { open(files, "gpt"); });
  QVERIFY2(unknown.find("expected one of recurrentgemma-2b") != std::string::npos, unknown.c_str());
}

void DeepMindNamesTest::fileMayHaveAnyNameIfItIsAlone() {
  ModelFiles files = deepMindFiles(test::smallModel());
  QVERIFY(open(files) != nullptr);
  files["second.safetensors"] = files.at("griffin.safetensors");
  const std::string message = test::errorOf([&] { open(files); });
  QVERIFY2(message.find("a single other .safetensors file") != std::string::npos, message.c_str());
  files["model.safetensors"] = files.at("griffin.safetensors");
  QVERIFY(open(files) != nullptr);
}

void DeepMindNamesTest::trap13_everyTensorIsAccountedFor() {
  const ModelFiles files = deepMindFiles(test::smallModel());
  const auto raw = RawSafetensors::parse(files.at("griffin.safetensors"));
  for (const auto& [name, entry] : raw.header.items()) {
    if (name == "embedder.input_embedding") continue;  // by which the layout is known
    ModelFiles less = files;
    test::editTensors(
        less, [&, missing = name](RawSafetensors& bent) { test::removeTensor(bent, missing); },
        "griffin.safetensors");
    const std::string message = test::errorOf([&] { open(less); });
    // A block without its first matrix is of no kind.
    std::string called = name;
    for (const char* first : {".recurrent_block.linear_x.weight", ".attention_block.proj_q.weight"}) {
      if (called.ends_with(first)) called.resize(called.size() - std::strlen(first));
    }
    QVERIFY2(message.find("tensor " + called + ":") != std::string::npos,
             (message + "\n  does not name: " + called).c_str());
  }
}

void DeepMindNamesTest::damageIsNamed_data() {
  using Edit = std::function<void(RawSafetensors&)>;
  QTest::addColumn<QString>("named");
  QTest::addColumn<Edit>("edit");
  const auto row = [](const char* name, const char* named, const Edit& edit) {
    QTest::newRow(name) << QString(named) << edit;
  };
  const auto reshape = [](const char* tensor, std::vector<std::int64_t> shape) {
    return Edit([=](RawSafetensors& raw) { raw.header[tensor]["shape"] = shape; });
  };
  const auto rename = [](const char* from, const char* to) {
    return Edit([=](RawSafetensors& raw) {
      raw.header[to] = raw.header[from];
      raw.header.erase(from);
    });
  };
  const auto add = [](const char* name, std::vector<std::int64_t> shape) {
    return Edit([=](RawSafetensors& raw) {
      std::int64_t count = 2;
      for (const std::int64_t extent : shape) count *= extent;
      test::addTensor(raw, name, "BF16", shape, std::string(static_cast<std::size_t>(count), '\0'));
    });
  };
  row("up of three", "blocks.0.mlp_block.ffw_up.w: expected [2, width, MLP width], found [4, 16, 10]",
      reshape("blocks.0.mlp_block.ffw_up.w", {4, 16, 10}));
  row("up without halves", "blocks.1.mlp_block.ffw_up.w: expected [2,",
      reshape("blocks.1.mlp_block.ffw_up.w", {32, 20}));
  row("up turned", "blocks.1.mlp_block.ffw_up.w: expected shape [20, 16]",
      reshape("blocks.1.mlp_block.ffw_up.w", {2, 20, 16}));
  row("flat up biases", "blocks.2.mlp_block.ffw_up.b: expected [2, 1, 1,",
      reshape("blocks.2.mlp_block.ffw_up.b", {2, 20}));
  row("taps turned", "blocks.1.recurrent_block.conv_1d.w: expected shape [24, 1, 4]",
      reshape("blocks.1.recurrent_block.conv_1d.w", {24, 4}));
  row("taps of three dimensions", "blocks.0.recurrent_block.conv_1d.w: expected [taps, lru_width]",
      reshape("blocks.0.recurrent_block.conv_1d.w", {4, 1, 24}));
  row("flat embedding", "embedder.input_embedding: expected 2 dimensions",
      reshape("embedder.input_embedding", {512}));
  row("no vocabulary", "embedder.input_embedding", [](RawSafetensors& raw) {
    test::removeTensor(raw, "embedder.input_embedding");
    test::addTensor(raw, "embedder.input_embedding", "BF16", {0, 16}, "");
  });
  row("gate blocks that do not divide", "rg_lru.input_gate.w: expected",
      reshape("blocks.0.recurrent_block.rg_lru.input_gate.w", {1, 8, 24}));
  row("heads that do not divide", "blocks.2.attention_block.proj_q.weight: expected a multiple of proj_k's 3",
      [](RawSafetensors& raw) {
        test::removeTensor(raw, "blocks.2.attention_block.proj_k.weight");
        test::addTensor(raw, "blocks.2.attention_block.proj_k.weight", "BF16", {3, 16},
                        std::string(96, '\0'));
      });
  row("a kernel of one dimension", "blocks.0.mlp_block.ffw_down.kernel: expected a matrix",
      [](RawSafetensors& raw) {
        test::removeTensor(raw, "blocks.0.mlp_block.ffw_down.weight");
        test::addTensor(raw, "blocks.0.mlp_block.ffw_down.kernel", "BF16", {320}, std::string(640, '\0'));
      });
  row("weight and kernel", "expected it once, found it also as",
      add("blocks.0.mlp_block.ffw_down.kernel", {20, 16}));
  row("two spellings", "expected it once, found it also as", add("params/final_norm/scale", {16}));
  row("both kinds in one block",
      "blocks.0: expected recurrent_block.linear_x or attention_block.proj_q, found both",
      add("blocks.0.attention_block.proj_q.weight", {16, 16}));
  row("a gap",
      "blocks.2: expected recurrent_block.linear_x or attention_block.proj_q, found neither (of 4 blocks)",
      [=](RawSafetensors& raw) {
        add("blocks.9.channel_pre_norm.scale", {16})(raw);
        nlohmann::ordered_json header;
        for (const auto& [name, entry] : raw.header.items())
          header[replaced(name, "blocks.2.", "blocks.3.")] = entry;
        raw.header = header;
      });
  row("a block far away", "blocks.3: expected", add("blocks.999999.channel_pre_norm.scale", {16}));
  row("a number too long", "blocks.9999999999.channel_pre_norm.scale: expected only",
      add("blocks.9999999999.channel_pre_norm.scale", {16}));
  row("no number", "blocks..channel_pre_norm.scale: expected only",
      add("blocks..channel_pre_norm.scale", {16}));
  row("an angle among real gates", "blocks.0.recurrent_block.rg_lru.a_param: expected shape [12]",
      add("blocks.0.recurrent_block.rg_lru.a_imag_param", {24}));
  row("an angle in one layer", "blocks.1.recurrent_block.rg_lru.a_imag_param: expected only",
      add("blocks.1.recurrent_block.rg_lru.a_imag_param", {24}));
  row("a kernel that is none", "final_norm.kernel: expected only", add("final_norm.kernel", {16}));
  row("Hugging Face's name among them", "expected it once", add("model.final_norm.weight", {16}));
  row("unknown", "blocks.0.recurrent_block.linear_z.bias: expected only",
      add("blocks.0.recurrent_block.linear_z.bias", {24}));
  row("renamed", "tensor final_norm.scale: expected", rename("final_norm.scale", "final_norm.scales"));
}

void DeepMindNamesTest::damageIsNamed() {
  QFETCH(QString, named);
  QFETCH(std::function<void(RawSafetensors&)>, edit);
  ModelFiles files = deepMindFiles(test::smallModel());
  test::editTensors(files, edit, "griffin.safetensors");
  const std::string message = test::errorOf([&] { open(files)->outputHead(); });
  QVERIFY2(QString::fromStdString(message).contains(named), message.c_str());
  QVERIFY2(message.find("griffin.safetensors") != std::string::npos ||
               message.find(folder_.path().toStdString()) != std::string::npos,
           message.c_str());
}

QTEST_GUILESS_MAIN(DeepMindNamesTest)
#include "deepmind_names_test.moc"
