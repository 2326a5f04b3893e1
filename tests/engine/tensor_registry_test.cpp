#include "engine/tensor_registry.h"

#include <QtTest/QtTest>
#include <map>
#include <set>

#include "engine/make_model.h"

using namespace eyrie::engine;

namespace {

std::int64_t parameters(const ModelConfig& config, bool withEmbedding) {
  std::int64_t total = 0;
  for (const ExpectedTensor& tensor : expectedTensors(config)) {
    std::int64_t count = 1;
    for (const std::int64_t dim : tensor.shape) count *= dim;
    if (withEmbedding || tensor.role != TensorRole::embedding) total += count;
  }
  return total;
}

}  // namespace

class TensorRegistryTest : public QObject {
  Q_OBJECT
 private slots:
  void releasedModelsHaveTheirPublishedSizes();
  void paperSizesMatchTheTable_data();
  void paperSizesMatchTheTable();
  void namesAreUniqueAndOrdered();
  void everyKindOfLayerHasItsTensors();
  void complexRecurrenceHasHalfAsManyGatesAndAnAngle();
};

void TensorRegistryTest::releasedModelsHaveTheirPublishedSizes() {
  QCOMPARE(parameters(presetConfig("recurrentgemma-2b"), true), 2'682'862'080);
  QCOMPARE(parameters(presetConfig("recurrentgemma-2b"), false), 2'027'502'080);
  QCOMPARE(parameters(presetConfig("recurrentgemma-9b"), true), 8'579'977'216);
  QCOMPARE(parameters(presetConfig("recurrentgemma-9b"), false), 7'531'401'216);
}

void TensorRegistryTest::paperSizesMatchTheTable_data() {
  QTest::addColumn<double>("millions");
  const std::pair<const char*, double> rows[] = {
      {"mqa-100m", 80},     {"hawk-100m", 94},     {"griffin-100m", 89},  {"mqa-400m", 316},
      {"hawk-400m", 375},   {"griffin-400m", 355}, {"mqa-3b", 2510},      {"hawk-3b", 3000},
      {"griffin-3b", 2840}, {"mqa-7b", 5940},      {"hawk-7b", 7180},     {"griffin-7b", 6790},
      {"mqa-14b", 11600},   {"hawk-14b", 14800},   {"griffin-14b", 13800}};
  for (const auto& [name, millions] : rows) QTest::newRow(name) << millions;
}

void TensorRegistryTest::paperSizesMatchTheTable() {
  QFETCH(double, millions);
  const double ours = static_cast<double>(parameters(presetConfig(QTest::currentDataTag()), false)) * 1e-6;
  QVERIFY2(std::abs(ours - millions) / millions < 0.01, qPrintable(QString::number(ours)));
}

void TensorRegistryTest::namesAreUniqueAndOrdered() {
  const auto tensors = expectedTensors(presetConfig("recurrentgemma-2b"));
  std::set<std::string> names;
  for (const ExpectedTensor& tensor : tensors)
    QVERIFY2(names.insert(tensor.name).second, tensor.name.c_str());
  QCOMPARE(tensors.front().name, std::string(kEmbeddingName));
  QCOMPARE(tensors.back().name, std::string("model.final_norm.weight"));
}

void TensorRegistryTest::everyKindOfLayerHasItsTensors() {
  const auto tensors = expectedTensors(presetConfig("tiny-griffin"));
  const auto shapeOf = [&](const std::string& name) {
    for (const ExpectedTensor& tensor : tensors)
      if (tensor.name == name) return shapeText(tensor.shape) + " " + tensor.formula;
    return std::string("none");
  };
  QCOMPARE(shapeOf("model.layers.0.temporal_block.conv_1d.weight"),
           std::string("[80, 1, 4] [lru_width, 1, conv1d_width]"));
  QCOMPARE(shapeOf("model.layers.1.temporal_block.rg_lru.input_gate_weight"),
           std::string("[5, 16, 16] [gate blocks, lru_width / gate blocks, lru_width / gate blocks]"));
  QCOMPARE(shapeOf("model.layers.2.temporal_block.k_proj.weight"),
           std::string("[16, 64] [num_key_value_heads * head_dim, hidden_size]"));
  QCOMPARE(shapeOf("model.layers.2.temporal_block.q_proj.bias"),
           std::string("none"));  // trap 13: not invented
  QCOMPARE(shapeOf("model.layers.2.temporal_block.linear_x.weight"), std::string("none"));
  QCOMPARE(shapeOf("model.layers.5.mlp_block.down_proj.bias"), std::string("[64] [hidden_size]"));
  QCOMPARE(shapeOf("model.layers.0.temporal_block.rg_lru.recurrent_imag_param"), std::string("none"));
}

void TensorRegistryTest::complexRecurrenceHasHalfAsManyGatesAndAnAngle() {
  std::map<std::string, std::string> shapes;
  for (const ExpectedTensor& tensor : expectedTensors(presetConfig("tiny-griffin-complex")))
    shapes[tensor.name] = shapeText(tensor.shape) + " " + tensor.formula;
  const std::string prefix = "model.layers.0.temporal_block.";
  QCOMPARE(shapes[prefix + "rg_lru.recurrent_param"], std::string("[40] [lru_width / 2]"));
  QCOMPARE(shapes[prefix + "rg_lru.recurrent_imag_param"], std::string("[40] [lru_width / 2]"));
  for (const char* gate : {"rg_lru.input_gate", "rg_lru.recurrent_gate"}) {
    QCOMPARE(shapes[prefix + gate + "_weight"],
             std::string("[5, 16, 8] [gate blocks, lru_width / gate blocks, lru_width / 2 / gate blocks]"));
    QCOMPARE(shapes[prefix + gate + "_bias"],
             std::string("[5, 8] [gate blocks, lru_width / 2 / gate blocks]"));
  }
  QCOMPARE(shapes[prefix + "linear_out.weight"], std::string("[64, 80] [hidden_size, lru_width]"));
  QVERIFY(!shapes.contains("model.layers.2.temporal_block.rg_lru.recurrent_imag_param"));
}

QTEST_GUILESS_MAIN(TensorRegistryTest)
#include "tensor_registry_test.moc"
