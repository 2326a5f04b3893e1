#include "engine/weights.h"

#include <fmt/core.h>

#include <cmath>
#include <string>

#include "engine/error.h"
#include "engine/tensor_registry.h"
#include "kernels/complex_rg_lru.h"
#include "kernels/packed_matrix.h"
#include "kernels/rg_lru.h"

namespace eyrie::engine {
namespace {

class WeightLoader {
 public:
  WeightLoader(std::shared_ptr<const Checkpoint> checkpoint, const std::function<void(double)>& progress,
               std::stop_token stop)
      : checkpoint_(std::move(checkpoint)), progress_(progress), stop_(std::move(stop)) {}

  std::shared_ptr<const Weights> load();

 private:
  const StoredTensor& take(const std::string& name);
  kernels::MatrixView matrix(const std::string& name);
  kernels::MatrixView viewOf(const StoredTensor& tensor);
  std::vector<float> vector(const std::string& name);
  std::vector<float> angles(const std::string& name);
  LayerWeights layer(const std::string& prefix, BlockKind kind);
  RecurrentWeights recurrent(const std::string& prefix);
  AttentionWeights attention(const std::string& prefix);
  MlpWeights mlp(const std::string& prefix);

  std::shared_ptr<const Checkpoint> checkpoint_;
  const std::function<void(double)>& progress_;
  std::stop_token stop_;
  std::shared_ptr<Weights> weights_ = std::make_shared<Weights>();
  std::size_t taken_ = 0;
};

const StoredTensor& WeightLoader::take(const std::string& name) {
  if (stop_.stop_requested()) throw Error(ErrorCode::cancelled, "loading was cancelled");
  ++taken_;
  if (progress_) {
    const auto total = static_cast<double>(std::max<std::size_t>(checkpoint_->tensors().size(), taken_));
    progress_(static_cast<double>(taken_) / total);
  }
  return checkpoint_->tensor(name);
}

kernels::MatrixView WeightLoader::viewOf(const StoredTensor& tensor) {
  kernels::MatrixView view;
  view.dtype = tensor.dtype;
  view.cols = tensor.shape.back();
  view.rows = 1;
  for (std::size_t axis = 0; axis + 1 < tensor.shape.size(); ++axis) view.rows *= tensor.shape[axis];
  view.data = tensor.data;
  if (tensor.transposed) {
    const auto copy = std::make_shared<std::vector<std::byte>>(tensor.bytes);
    copyElements(tensor, 0, tensor.bytes / kernels::dtypeSize(tensor.dtype), copy->data());
    view.data = copy->data();
    weights_->turned.push_back(copy);
  }
  return view;
}

kernels::MatrixView WeightLoader::matrix(const std::string& name) {
  return viewOf(take(name));
}

std::vector<float> WeightLoader::vector(const std::string& name) {
  const StoredTensor& tensor = take(name);
  const std::size_t count = tensor.bytes / kernels::dtypeSize(tensor.dtype);
  std::vector<float> values(count);
  if (!tensor.transposed) {
    kernels::widen(tensor.data, tensor.dtype, count, values.data());
    return values;
  }
  std::vector<std::byte> turned(tensor.bytes);
  copyElements(tensor, 0, count, turned.data());
  kernels::widen(turned.data(), tensor.dtype, count, values.data());
  return values;
}

std::vector<float> WeightLoader::angles(const std::string& name) {
  std::vector<float> values = vector(name);
  for (const float value : values) {
    if (std::abs(value) <= kernels::kLargestAngle) continue;  // NaN is not
    const StoredTensor& tensor = checkpoint_->tensor(name);
    throw Error(ErrorCode::badTensor,
                fmt::format("{}: tensor {}: expected angles of at most {} either way, found {}", tensor.file,
                            name, kernels::kLargestAngle, value));
  }
  return values;
}

RecurrentWeights WeightLoader::recurrent(const std::string& prefix) {
  const ModelConfig& config = checkpoint_->config();
  RecurrentWeights w;
  w.linearX = matrix(prefix + "linear_x.weight");
  w.linearXBias = vector(prefix + "linear_x.bias");
  w.linearY = matrix(prefix + "linear_y.weight");
  w.linearYBias = vector(prefix + "linear_y.bias");
  w.linearOut = matrix(prefix + "linear_out.weight");
  w.linearOutBias = vector(prefix + "linear_out.bias");
  const std::vector<float> stored = vector(prefix + "conv_1d.weight");  // (R, 1, K)
  w.convWeight.resize(stored.size());
  for (std::int64_t channel = 0; channel < config.R; ++channel) {
    for (std::int64_t tap = 0; tap < config.K; ++tap) {
      w.convWeight[static_cast<std::size_t>(tap * config.R + channel)] =
          stored[static_cast<std::size_t>(channel * config.K + tap)];
    }
  }
  w.convBias = vector(prefix + "conv_1d.bias");
  w.inputGate = matrix(prefix + "rg_lru.input_gate_weight");
  w.inputGateBias = vector(prefix + "rg_lru.input_gate_bias");
  w.recurrenceGate = matrix(prefix + "rg_lru.recurrent_gate_weight");
  w.recurrenceGateBias = vector(prefix + "rg_lru.recurrent_gate_bias");
  w.decayRate = vector(prefix + "rg_lru.recurrent_param");
  for (float& p : w.decayRate) p = kernels::decayRateOf(p);
  if (config.rgLru == RgLru::complex) w.angleRate = angles(prefix + "rg_lru.recurrent_imag_param");
  return w;
}

AttentionWeights WeightLoader::attention(const std::string& prefix) {
  AttentionWeights w;
  w.q = matrix(prefix + "q_proj.weight");
  w.k = matrix(prefix + "k_proj.weight");
  w.v = matrix(prefix + "v_proj.weight");
  w.o = matrix(prefix + "o_proj.weight");
  w.oBias = vector(prefix + "o_proj.bias");
  return w;
}

MlpWeights WeightLoader::mlp(const std::string& prefix) {
  MlpWeights w;
  w.gate = matrix(prefix + "gate_proj.weight");
  w.gateBias = vector(prefix + "gate_proj.bias");
  w.up = matrix(prefix + "up_proj.weight");
  w.upBias = vector(prefix + "up_proj.bias");
  w.down = matrix(prefix + "down_proj.weight");
  w.downBias = vector(prefix + "down_proj.bias");
  return w;
}

LayerWeights WeightLoader::layer(const std::string& prefix, BlockKind kind) {
  LayerWeights w;
  w.temporalNorm = vector(prefix + "temporal_pre_norm.weight");
  w.channelNorm = vector(prefix + "channel_pre_norm.weight");
  if (kind == BlockKind::recurrent) {
    w.recurrent = recurrent(prefix + "temporal_block.");
  } else {
    w.attention = attention(prefix + "temporal_block.");
  }
  w.mlp = mlp(prefix + "mlp_block.");
  return w;
}

std::shared_ptr<const Weights> WeightLoader::load() {
  const ModelConfig& config = checkpoint_->config();
  weights_->checkpoint = checkpoint_;
  weights_->embedding = matrix(std::string(kEmbeddingName));
  weights_->layers.reserve(static_cast<std::size_t>(config.L));
  for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx) {
    weights_->layers.push_back(
        layer(fmt::format("model.layers.{}.", layerIdx), config.blocks[static_cast<std::size_t>(layerIdx)]));
  }
  weights_->finalNorm = vector("model.final_norm.weight");
  // The checkpoint has settled which tensor that is (trap 19); a tied head is the very same view.
  const StoredTensor& head = checkpoint_->outputHead();
  weights_->head = head.name == kEmbeddingName ? weights_->embedding : viewOf(head);
  return weights_;
}

}  // namespace

std::vector<kernels::MatrixView*> largeMatrices(LayerWeights& layer) {
  std::vector<kernels::MatrixView*> matrices;
  RecurrentWeights& r = layer.recurrent;
  AttentionWeights& a = layer.attention;
  for (auto* matrix : {&r.linearY, &r.linearX, &r.linearOut, &a.q, &a.k, &a.v, &a.o, &layer.mlp.gate,
                       &layer.mlp.up, &layer.mlp.down}) {
    if (matrix->data != nullptr) matrices.push_back(matrix);
  }
  return matrices;
}

std::vector<kernels::MatrixView*> convertibleMatrices(Weights& weights) {
  std::vector<kernels::MatrixView*> matrices;
  for (LayerWeights& layer : weights.layers) {
    for (kernels::MatrixView* matrix : largeMatrices(layer)) matrices.push_back(matrix);
  }
  matrices.push_back(&weights.head);
  return matrices;
}

void letGo(const Checkpoint& checkpoint, const kernels::MatrixView& matrix) {
  checkpoint.dropPages(matrix.data, static_cast<std::uint64_t>(kernels::matrixBytes(matrix)));
}

std::uint64_t stepBytes(const Weights& weights) {
  std::uint64_t bytes = 0;
  const auto addVectors = [&bytes](std::initializer_list<const std::vector<float>*> vectors) {
    for (const auto* vector : vectors) bytes += vector->size() * sizeof(float);
  };
  Weights views = weights;
  for (const kernels::MatrixView* matrix : convertibleMatrices(views)) {
    bytes += static_cast<std::uint64_t>(kernels::matrixBytes(*matrix));
  }
  for (const LayerWeights& layer : weights.layers) {
    const RecurrentWeights& r = layer.recurrent;
    for (const auto* gate : {&r.inputGate, &r.recurrenceGate}) {
      if (gate->data != nullptr) bytes += static_cast<std::uint64_t>(kernels::matrixBytes(*gate));
    }
    addVectors({&layer.temporalNorm, &layer.channelNorm, &r.linearXBias, &r.linearYBias, &r.linearOutBias,
                &r.convWeight, &r.convBias, &r.inputGateBias, &r.recurrenceGateBias, &r.decayRate,
                &layer.attention.oBias, &layer.mlp.gateBias, &layer.mlp.upBias, &layer.mlp.downBias});
  }
  addVectors({&weights.finalNorm});
  return bytes;
}

std::shared_ptr<const Weights> loadWeights(std::shared_ptr<const Checkpoint> checkpoint,
                                           const std::function<void(double)>& progress,
                                           std::stop_token stop) {
  return WeightLoader(std::move(checkpoint), progress, std::move(stop)).load();
}

}  // namespace eyrie::engine
