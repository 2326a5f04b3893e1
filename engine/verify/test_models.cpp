#include "engine/verify/test_models.h"

#include <cmath>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/tensor_registry.h"

namespace eyrie::engine::verify {
namespace {

class RandomCheckpoint final : public Checkpoint {
 public:
  RandomCheckpoint(const ModelConfig& config, std::uint64_t seed);

  const std::filesystem::path& folder() const override { return folder_; }
  const ModelConfig& config() const override { return config_; }
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const StoredTensor& tensor(std::string_view name) const override;
  const StoredTensor* find(std::string_view name) const override;
  const StoredTensor& outputHead() const override { return tensor(kEmbeddingName); }
  const std::string& fingerprint() const override { return fingerprint_; }

 private:
  std::filesystem::path folder_ = "random";
  ModelConfig config_;
  std::vector<std::vector<float>> values_;
  std::vector<StoredTensor> tensors_;
  std::string fingerprint_;
};

float randomValue(TestRandom& random, const ExpectedTensor& tensor) {
  switch (tensor.role) {
    case TensorRole::embedding:
      return 0.2F * random.normal();
    case TensorRole::norm:
      return 0.1F * random.normal();
    case TensorRole::linear:
      return random.normal() / std::sqrt(static_cast<float>(tensor.shape.back()));
    case TensorRole::bias:
      return 0.1F * random.normal();
    case TensorRole::convolution:
      return 0.5F * random.normal();
    case TensorRole::gateWeight:
      return random.normal() / std::sqrt(static_cast<float>(tensor.shape.back()));
    case TensorRole::gateBias:
      return 0.5F * random.normal();
    case TensorRole::recurrentParam: {
      // a at r = 1 is radius^8 = exp(-8 softplus(p)).
      const double radius = 0.9 + 0.0999 * random.uniform();
      return static_cast<float>(std::log(std::expm1(-std::log(radius))));
    }
    case TensorRole::recurrentImagParam:
      return 0.5F * random.normal();
  }
  return 0;
}

RandomCheckpoint::RandomCheckpoint(const ModelConfig& config, std::uint64_t seed)
    : config_(config), fingerprint_("random-" + patternString(config) + "-" + std::to_string(seed)) {
  TestRandom random(seed);
  for (const ExpectedTensor& expected : expectedTensors(config)) {
    std::size_t count = 1;
    for (const std::int64_t extent : expected.shape) count *= static_cast<std::size_t>(extent);
    std::vector<float>& values = values_.emplace_back(count);
    for (float& value : values) value = randomValue(random, expected);
    StoredTensor stored;
    stored.name = expected.name;
    stored.shape = expected.shape;
    stored.data = values.data();
    stored.bytes = count * sizeof(float);
    stored.file = "memory";
    tensors_.push_back(std::move(stored));
  }
}

const StoredTensor* RandomCheckpoint::find(std::string_view name) const {
  for (const StoredTensor& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

const StoredTensor& RandomCheckpoint::tensor(std::string_view name) const {
  const StoredTensor* found = find(name);
  if (found == nullptr) throw Error(ErrorCode::badTensor, "random model: no tensor " + std::string(name));
  return *found;
}

class EditedCheckpoint final : public Checkpoint {
 public:
  explicit EditedCheckpoint(std::shared_ptr<const Checkpoint> base)
      : base_(std::move(base)), tensors_(base_->tensors()) {}

  const std::filesystem::path& folder() const override { return base_->folder(); }
  const ModelConfig& config() const override { return base_->config(); }
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const StoredTensor& tensor(std::string_view name) const override { return tensors_[indexOf(name)]; }
  const StoredTensor* find(std::string_view name) const override {
    return base_->find(name) == nullptr ? nullptr : &tensor(name);
  }
  const StoredTensor& outputHead() const override { return tensor(base_->outputHead().name); }
  const std::string& fingerprint() const override { return base_->fingerprint(); }

  void edit(const std::function<void(const std::string&, std::vector<float>&)>& change) {
    for (StoredTensor& stored : tensors_) {
      const auto* data = static_cast<const float*>(stored.data);
      std::vector<float>& values = values_.emplace_back(data, data + stored.bytes / sizeof(float));
      change(stored.name, values);
      stored.data = values.data();
    }
  }

 private:
  std::size_t indexOf(std::string_view name) const {
    return static_cast<std::size_t>(&base_->tensor(name) - base_->tensors().data());
  }

  std::shared_ptr<const Checkpoint> base_;
  std::vector<StoredTensor> tensors_;
  std::deque<std::vector<float>> values_;
};

class BentCheckpoint final : public Checkpoint {
 public:
  BentCheckpoint(std::shared_ptr<const Checkpoint> base, const ModelConfig& config,
                 std::function<std::string(const std::string&)> rename)
      : base_(std::move(base)), config_(config), rename_(std::move(rename)) {}

  const std::filesystem::path& folder() const override { return base_->folder(); }
  const ModelConfig& config() const override { return config_; }
  const std::vector<StoredTensor>& tensors() const override { return base_->tensors(); }
  const StoredTensor& tensor(std::string_view name) const override { return base_->tensor(renamed(name)); }
  const StoredTensor* find(std::string_view name) const override { return base_->find(renamed(name)); }
  const StoredTensor& outputHead() const override { return base_->outputHead(); }
  const std::string& fingerprint() const override { return base_->fingerprint(); }

 private:
  std::string renamed(std::string_view name) const {
    return rename_ ? rename_(std::string(name)) : std::string(name);
  }

  std::shared_ptr<const Checkpoint> base_;
  ModelConfig config_;
  std::function<std::string(const std::string&)> rename_;
};

BlockKind kindOf(char letter) {
  if (letter == 'A') return BlockKind::localAttention;
  return letter == 'G' ? BlockKind::globalAttention : BlockKind::recurrent;
}

}  // namespace

std::uint64_t TestRandom::bits() {
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

double TestRandom::uniform() {
  return static_cast<double>(bits() >> 11) * 0x1.0p-53;
}

float TestRandom::normal() {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += uniform();
  return static_cast<float>(sum);
}

std::vector<float> TestRandom::normals(std::int64_t n, float scale) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = scale * normal();
  return values;
}

std::vector<std::int32_t> TestRandom::tokens(std::int64_t n, std::int64_t V) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
  for (std::int32_t& token : tokens)
    token = static_cast<std::int32_t>(bits() % static_cast<std::uint64_t>(V));
  return tokens;
}

ModelConfig tinyConfig(const std::string& pattern, std::int64_t layers, RgLru rgLru) {
  ModelConfig config;
  config.D = 24;
  config.R = 20;
  config.E = 28;
  config.L = layers;
  config.H = 4;
  config.kvHeads = 2;
  config.Dh = 6;
  config.V = 41;
  config.W = 7;
  config.K = 4;
  config.gateBlocks = 5;
  config.rgLru = rgLru;
  config.rotary = 4;
  for (std::int64_t i = 0; i < layers; ++i) {
    config.blocks.push_back(kindOf(pattern[static_cast<std::size_t>(i) % pattern.size()]));
  }
  return config;
}

std::shared_ptr<const Checkpoint> randomCheckpoint(const ModelConfig& config, std::uint64_t seed) {
  return std::make_shared<RandomCheckpoint>(config, seed);
}

std::shared_ptr<const Checkpoint> bentCheckpoint(std::shared_ptr<const Checkpoint> base,
                                                 const ModelConfig& config,
                                                 std::function<std::string(const std::string&)> rename) {
  return std::make_shared<BentCheckpoint>(std::move(base), config, std::move(rename));
}

std::shared_ptr<const Checkpoint> editedCheckpoint(
    std::shared_ptr<const Checkpoint> base,
    const std::function<void(const std::string& name, std::vector<float>& values)>& edit) {
  auto edited = std::make_shared<EditedCheckpoint>(std::move(base));
  edited->edit(edit);
  return edited;
}

std::vector<std::byte> stored(const std::vector<float>& values, kernels::DType dtype) {
  const std::size_t size = kernels::dtypeSize(dtype);
  std::vector<std::byte> bytes(values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half =
        dtype == kernels::DType::f16 ? kernels::floatToF16(values[i]) : kernels::floatToBf16(values[i]);
    const void* from = dtype == kernels::DType::f32 ? static_cast<const void*>(&values[i]) : &half;
    std::memcpy(bytes.data() + i * size, from, size);
  }
  return bytes;
}

}  // namespace eyrie::engine::verify
