#include <algorithm>
#include <future>

#include "engine/cpu_backend.h"

namespace eyrie::engine {
namespace {

constexpr std::int64_t kSmallestRing = 64;
// To start a thread takes as long as to copy some hundred kilobytes.
constexpr std::uint64_t kWorthThreads = 8U << 20U;

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// Slots a layer can ever use: what a query sees beside its own key.
std::int64_t ringLimit(const ModelConfig& config, std::int64_t layerIdx, std::int64_t position) {
  return rememberedKeys(config, layerIdx, position);
}

void copyRow(const float* from, std::int64_t fromRow, float* to, std::int64_t toRow, std::int64_t width) {
  std::copy_n(from + fromRow * width, width, to + toRow * width);
}

}  // namespace

CpuState::CpuState(const ModelConfig& config, int threads)
    : config_(std::make_shared<const ModelConfig>(config)), threads_(threads), layers_(count(config.L)) {
  for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx) {
    if (config.blocks[count(layerIdx)] != BlockKind::recurrent) continue;
    layers_[count(layerIdx)].h.assign(count(config.R), 0.0F);
    layers_[count(layerIdx)].tail.assign(count((config.K - 1) * config.R), 0.0F);
  }
}

std::unique_ptr<BackendState> CpuState::clone() const {
  if (threads_ == 1 || bytes() < kWorthThreads) return std::make_unique<CpuState>(*this);
  auto copy = std::make_unique<CpuState>(*config_, threads_);
  copy->position_ = position_;
  const auto copyEveryOther = [&](std::size_t first) {
    for (std::size_t i = first; i < layers_.size(); i += 2) copy->layers_[i] = layers_[i];
  };
  // Deferred where the system gives no thread.
  auto others = std::async(std::launch::async | std::launch::deferred, copyEveryOther, 1);
  copyEveryOther(0);
  others.get();
  return copy;
}

HostState CpuState::download(std::int64_t newestKeys) const {
  const std::int64_t width = config_->kvHeads * config_->Dh;
  HostState state;
  state.position = position_;
  state.layers.resize(layers_.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const CpuLayerState& from = layers_[i];
    LayerState& to = state.layers[i];
    to.h = from.h;
    to.tail = from.tail;
    const std::int64_t remembered = rememberedKeys(*config_, static_cast<std::int64_t>(i), position_);
    const std::int64_t n = std::min(remembered, newestKeys);
    to.keys.resize(count(n * width));
    to.values.resize(count(n * width));
    for (std::int64_t row = 0; row < n; ++row) {
      const std::int64_t slot = (position_ - n + row) % from.capacity;
      copyRow(from.keys.data(), slot, to.keys.data(), row, width);
      copyRow(from.values.data(), slot, to.values.data(), row, width);
    }
  }
  return state;
}

void CpuState::restore(const HostState& state) {
  const std::int64_t width = config_->kvHeads * config_->Dh;
  position_ = state.position;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerState& from = state.layers[i];
    CpuLayerState& to = layers_[i];
    to.h = from.h;
    to.tail = from.tail;
    const std::int64_t n = rememberedKeys(*config_, static_cast<std::int64_t>(i), position_);
    to.capacity = n;
    to.keys.resize(count(n * width));
    to.values.resize(count(n * width));
    for (std::int64_t row = 0; row < n; ++row) {
      const std::int64_t slot = (position_ - n + row) % n;
      copyRow(from.keys.data(), row, to.keys.data(), slot, width);
      copyRow(from.values.data(), row, to.values.data(), slot, width);
    }
  }
}

void CpuState::grow(std::int64_t tokens) {
  const std::int64_t width = config_->kvHeads * config_->Dh;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    CpuLayerState& layer = layers_[i];
    const auto layerIdx = static_cast<std::int64_t>(i);
    const std::int64_t needed = ringLimit(*config_, layerIdx, position_ + tokens);
    if (needed <= layer.capacity) continue;
    const std::int64_t wanted = std::max({needed, 2 * layer.capacity, kSmallestRing});
    const std::int64_t capacity = ringLimit(*config_, layerIdx, wanted);
    layer.keys.resize(count(capacity * width));
    layer.values.resize(count(capacity * width));
    layer.capacity = capacity;
  }
}

kernels::KvRing CpuState::ring(int layerIdx) {
  CpuLayerState& state = layer(layerIdx);
  return {state.keys.data(), state.values.data(), state.capacity};
}

std::uint64_t CpuState::bytes() const {
  std::uint64_t floats = 0;
  for (const CpuLayerState& layer : layers_) {
    floats += layer.h.size() + layer.tail.size() + layer.keys.size() + layer.values.size();
  }
  return floats * sizeof(float);
}

}  // namespace eyrie::engine
