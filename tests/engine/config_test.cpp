#include "engine/config.h"

#include <QtTest/QtTest>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/make_model.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using eyrie::kernels::Activation;
using nlohmann::json;

namespace {

json base() {
  return {{"hidden_size", 64},
          {"intermediate_size", 256},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 4},
          {"vocab_size", 120}};
}

ModelConfig parsed(const json& config) {
  return parseConfig(config.dump(), "config.json");
}

ModelConfig parsedWith(const json& more) {
  json config = base();
  config.update(more);
  return parsed(config);
}

}  // namespace

class ConfigTest : public QObject {
  Q_OBJECT
 private slots:
  void missingKeysTakeTheirDefaults();
  void nullIsAMissingKey();
  void trap15_intermediateSizeIsHalved();
  void trap28_capOfZeroOrNullIsOff();
  void trap33_patternKeys_data();
  void trap33_patternKeys();
  void trap34_oddShapesAreRead();
  void trap35_patternRepeatsAndIsCut_data();
  void trap35_patternRepeatsAndIsCut();
  void ropeParametersOfTransformers5Win();
  void endTokensMayBeAList();
  void activationsHaveSeveralNames();
  void ownOptionsStandInOneObject();
  void complexRecurrenceHalvesTheWidth();
  void goldenConfigurations_data();
  void goldenConfigurations();
  void writtenConfigurationReadsBackEqual();
};

void ConfigTest::missingKeysTakeTheirDefaults() {
  const ModelConfig config = parsed(base());
  QCOMPARE(config.R, 64);
  QCOMPARE(config.kvHeads, 4);  // Hugging Face's default: as many as heads
  QCOMPARE(config.Dh, 16);
  QCOMPARE(config.W, 2048);
  QCOMPARE(config.K, 4);
  QCOMPARE(config.rotary, 8);
  QCOMPARE(config.ropeTheta, 10000.0);
  QCOMPARE(config.normEps, 1e-6F);
  QCOMPARE(config.logitsSoftCap, 30.0F);
  QVERIFY(config.scaleEmbedding);
  QVERIFY(config.tieWordEmbeddings);
  QVERIFY(!config.tieStated);
  QVERIFY(config.activation == Activation::geluTanh);
  QVERIFY(config.windowCounting == WindowCounting::dm);
  QCOMPARE(config.olderKeys(), 2048);
  QCOMPARE(config.bosToken, 2);
  QCOMPARE(config.padToken, 0);
  QVERIFY(config.eosTokens == std::vector<std::int32_t>{1});
  QCOMPARE(config.gateBlocks, 0);
}

void ConfigTest::nullIsAMissingKey() {
  json nulls = base();
  for (const char* key : {"lru_width",
                          "num_key_value_heads",
                          "head_dim",
                          "attention_window_size",
                          "conv1d_width",
                          "rms_norm_eps",
                          "rope_theta",
                          "partial_rotary_factor",
                          "rope_parameters",
                          "rope_scaling",
                          "embeddings_scale_by_sqrt_dim",
                          "tie_word_embeddings",
                          "hidden_activation",
                          "bos_token_id",
                          "eos_token_id",
                          "pad_token_id",
                          "_block_types",
                          "block_types",
                          "eyrie",
                          "attention_bias",
                          "model_type"})
    nulls[key] = nullptr;
  QVERIFY(parsed(nulls) == parsed(base()));
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}) {
    json config = base();
    config[key] = nullptr;
    const std::string message = test::errorOf([&] { parsed(config); });
    QVERIFY2(message.find(key) != std::string::npos && message.find("missing") != std::string::npos,
             message.c_str());
  }
}

void ConfigTest::trap15_intermediateSizeIsHalved() {
  QCOMPARE(parsedWith({{"intermediate_size", 15360}}).E, 7680);
  json config = base();
  config.erase("intermediate_size");  // the class default would be a width the tensors do not have
  QVERIFY_EXCEPTION_THROWN(parsed(config), Error);
}

void ConfigTest::trap28_capOfZeroOrNullIsOff() {
  QCOMPARE(parsedWith({{"logits_soft_cap", 0}}).logitsSoftCap, 0.0F);
  QCOMPARE(parsedWith({{"logits_soft_cap", nullptr}}).logitsSoftCap, 0.0F);
  QCOMPARE(parsedWith({{"logits_soft_cap", 50.0}}).logitsSoftCap, 50.0F);
}

void ConfigTest::trap33_patternKeys_data() {
  QTest::addColumn<QString>("keys");
  QTest::addColumn<QString>("pattern");
  QTest::newRow("trap 33: _block_types") << R"({"_block_types": ["recurrent", "attention"]})"
                                         << "RARA";
  QTest::newRow("trap 33: block_types") << R"({"block_types": ["recurrent", "attention"]})"
                                        << "RARA";
  QTest::newRow("trap 33: both, _block_types wins")
      << R"({"block_types": ["recurrent"], "_block_types": ["attention"]})"
      << "AAAA";
  QTest::newRow("trap 33: the unused key may say anything")
      << R"({"layer_types": ["sliding_attention"], "block_types": ["recurrent"]})"
      << "RRRR";
  QTest::newRow("trap 33: neither") << "{}"
                                    << "RRAR";
  QTest::newRow("every kind")
      << R"({"layer_types": ["recurrent", "local_attention", "global_attention", "attention"]})"
      << "RAGA";
}

void ConfigTest::trap33_patternKeys() {
  QFETCH(QString, keys);
  QFETCH(QString, pattern);
  QCOMPARE(QString::fromStdString(patternString(parsedWith(json::parse(keys.toStdString())))), pattern);
}

void ConfigTest::trap34_oddShapesAreRead() {
  const ModelConfig config = parsedWith({{"lru_width", 88},
                                         {"head_dim", 10},
                                         {"num_key_value_heads", 2},
                                         {"vocab_size", 7},
                                         {"partial_rotary_factor", 0.6},
                                         {"bos_token_id", 6}});
  QCOMPARE(config.R, 88);
  QCOMPARE(config.Dh, 10);
  QCOMPARE(config.kvHeads, 2);
  QCOMPARE(config.V, 7);
  QCOMPARE(config.rotary, 6);
  // Without attention the heads need not divide anything.
  const ModelConfig hawk = parsedWith({{"num_attention_heads", 7}, {"_block_types", {"recurrent"}}});
  QCOMPARE(hawk.Dh, 9);
  QCOMPARE(hawk.rotary % 2, 0);
}

void ConfigTest::trap35_patternRepeatsAndIsCut_data() {
  QTest::addColumn<int>("layers");
  QTest::addColumn<int>("attention");
  QTest::newRow("trap 35: 26 layers of the 2B") << 26 << 8;
  QTest::newRow("trap 35: 38 layers of the 9B") << 38 << 12;
}

void ConfigTest::trap35_patternRepeatsAndIsCut() {
  QFETCH(int, layers);
  QFETCH(int, attention);
  const ModelConfig config = parsedWith({{"num_hidden_layers", layers}});
  QCOMPARE(config.blocks.size(), static_cast<std::size_t>(layers));
  QCOMPARE(
      static_cast<int>(std::count(config.blocks.begin(), config.blocks.end(), BlockKind::localAttention)),
      attention);
  QVERIFY(config.blocks[2] == BlockKind::localAttention);
  QVERIFY(config.blocks[static_cast<std::size_t>(layers) - 1] == BlockKind::recurrent);
  QVERIFY(config.blocks[static_cast<std::size_t>(layers) - 2] == BlockKind::recurrent);
}

void ConfigTest::ropeParametersOfTransformers5Win() {
  const json rope = {{"rope_type", "default"}, {"rope_theta", 5000.0}, {"partial_rotary_factor", 1.0}};
  const ModelConfig config = parsedWith({{"rope_parameters", rope}, {"rope_theta", 7.0}});
  QCOMPARE(config.ropeTheta, 5000.0);
  QCOMPARE(config.rotary, 16);
}

void ConfigTest::endTokensMayBeAList() {
  QVERIFY((parsedWith({{"eos_token_id", {1, 107}}}).eosTokens == std::vector<std::int32_t>{1, 107}));
  QVERIFY(parsedWith({{"eos_token_id", -1}}).eosTokens.empty());
  QCOMPARE(parsedWith({{"pad_token_id", -1}}).padToken, -1);
}

void ConfigTest::activationsHaveSeveralNames() {
  QVERIFY(parsedWith({{"hidden_activation", "silu"}}).activation == Activation::silu);
  QVERIFY(parsedWith({{"hidden_activation", "gelu"}}).activation == Activation::gelu);
  QVERIFY(parsedWith({{"hidden_activation", "relu"}}).activation == Activation::relu);
  QVERIFY(parsedWith({{"hidden_activation", "gelu_pytorch_tanh"}}).activation == Activation::geluTanh);
}

void ConfigTest::ownOptionsStandInOneObject() {
  const ModelConfig config = parsedWith({{"eyrie", {{"window_counting", "hf"}, {"rg_lru", "real"}}}});
  QVERIFY(config.windowCounting == WindowCounting::hf);
  QCOMPARE(config.olderKeys(), 2047);
  QVERIFY(config.rgLru == RgLru::real);
  QCOMPARE(config.channels(), config.R);
  try {
    parsedWith({{"eyrie", {{"rg_lru", "quaternion"}}}});
    QFAIL("an RG-LRU of quaternions was accepted");
  } catch (const Error& error) {
    QVERIFY(error.code() == ErrorCode::unsupported);
    QVERIFY2(QString(error.what()).contains("eyrie: rg_lru: expected real or complex, found \"quaternion\""),
             error.what());
  }
}

void ConfigTest::complexRecurrenceHalvesTheWidth() {
  const ModelConfig config = parsedWith({{"eyrie", {{"rg_lru", "complex"}}}, {"lru_width", 80}});
  QVERIFY(config.rgLru == RgLru::complex);
  QCOMPARE(config.R, 80);
  QCOMPARE(config.channels(), 40);
  try {
    parsedWith({{"eyrie", {{"rg_lru", "complex"}}}, {"lru_width", 81}});
    QFAIL("an odd width was halved");
  } catch (const Error& error) {
    QVERIFY2(QString(error.what()).contains("lru_width: expected an even number"), error.what());
    QVERIFY2(QString(error.what()).contains("found 81"), error.what());
  }
}

void ConfigTest::goldenConfigurations_data() {
  QTest::addColumn<QString>("folder");
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<int>("kvHeads");
  QTest::newRow("griffin-tiny") << "griffin-tiny"
                                << "RRARRA" << 1;
  QTest::newRow("hawk-tiny") << "hawk-tiny"
                             << "RRRR" << 1;
  QTest::newRow("griffin-bf16-sharded") << "griffin-bf16-sharded"
                                        << "RRARR" << 1;
  QTest::newRow("mqa-global") << "mqa-global"
                              << "GGGG" << 1;
  QTest::newRow("griffin-complex") << "griffin-complex"
                                   << "RRAR" << 1;
  QTest::newRow("hf-community") << "hf-community"
                                << "RRAR" << 2;
}

void ConfigTest::goldenConfigurations() {
  QFETCH(QString, folder);
  QFETCH(QString, pattern);
  QFETCH(int, kvHeads);
  const std::string file = EYRIE_SOURCE_DIR "/tests/golden/" + folder.toStdString() + "/config.json";
  const ModelConfig config = parseConfig(test::readBytes(file), file);
  QCOMPARE(QString::fromStdString(patternString(config)), pattern);
  QCOMPARE(config.kvHeads, kvHeads);
  QVERIFY(config.scaleEmbedding == (folder != "hawk-tiny"));
}

void ConfigTest::writtenConfigurationReadsBackEqual() {
  for (const std::string& name : modelPresets()) {
    ModelConfig config = presetConfig(name);
    config.gateBlocks = 0;
    QVERIFY2(parseConfig(writeConfig(config, "bfloat16"), "config.json") == config, name.c_str());
  }
  for (const int vocabulary : {1, 2}) {  // smaller than the ids that are not stated
    const ModelConfig small = parsedWith({{"vocab_size", vocabulary}});
    QVERIFY(parseConfig(writeConfig(small, "float32"), "config.json") == small);
  }
  ModelConfig odd = parsedWith({{"eos_token_id", {1, 2, 3}},
                                {"eyrie", {{"window_counting", "hf"}}},
                                {"tie_word_embeddings", false},
                                {"rms_norm_eps", 1e-5},
                                {"block_types", {"recurrent", "attention", "global_attention"}}});
  QVERIFY(parseConfig(writeConfig(odd, "float32"), "config.json") == odd);
}

QTEST_GUILESS_MAIN(ConfigTest)
#include "config_test.moc"
