#include "engine/cuda/cuda_state.h"

#include <algorithm>

#include "engine/cuda/guarded.h"
#include "kernels/packed_matrix.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

bool isRecurrent(const ModelConfig& config, std::size_t layerIdx) {
  return config.blocks[layerIdx] == BlockKind::recurrent;
}

bool isGlobal(const ModelConfig& config, std::size_t layerIdx) {
  return config.blocks[layerIdx] == BlockKind::globalAttention;
}

// The stretches of a ring in which positions first..first+n-1 lie: use(rows before it, its first slot, rows).
template <typename Use>
void forEachStretch(std::int64_t first, std::int64_t n, std::int64_t capacity, const Use& use) {
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t slot = (first + done) % capacity;
    const std::int64_t rows = std::min(n - done, capacity - slot);
    use(done, slot, rows);
    done += rows;
  }
}

cuda::DeviceMemory floats(std::size_t n) {
  return cuda::DeviceMemory(n * sizeof(float));
}

// Floats of a recurrent layer, padded so that rings after it lie where 16 bytes can be read at once.
std::int64_t recurrentFloats(const ModelConfig& config) {
  return kernels::roundUp((1 + config.K) * config.R, 4);
}

}  // namespace

CudaState::CudaState(std::shared_ptr<const ModelConfig> config,
                     std::shared_ptr<const cuda::OwnedStream> stream, int device)
    : config_(std::move(config)),
      stream_(std::move(stream)),
      device_(device),
      layers_(config_->blocks.size()) {
  fixed_ = floats(sizesOf(*config_).fixed);
  cuda::fillWithZeros(fixed_.data(), fixed_.bytes(), *stream_);
  layOut();
}

CudaState::Sizes CudaState::sizesOf(const ModelConfig& config) {
  const std::int64_t row = config.kvHeads * config.Dh;
  Sizes sizes;
  for (std::size_t i = 0; i < config.blocks.size(); ++i) {
    if (isRecurrent(config, i)) {
      sizes.fixed += count(recurrentFloats(config));
    } else if (isGlobal(config, i)) {
      sizes.global += count(2 * row);
    } else {
      sizes.fixed += count(2 * (config.olderKeys() + 1) * row);
    }
  }
  return sizes;
}

std::size_t CudaState::bytesAtFirst(const ModelConfig& config) {
  const Sizes sizes = sizesOf(config);
  return (sizes.fixed + sizes.global * count(kSmallestRing)) * sizeof(float);
}

void CudaState::layOut() {
  auto* fixed = reinterpret_cast<float*>(fixed_.data());
  auto* global = reinterpret_cast<float*>(global_.data());
  const std::int64_t row = config_->kvHeads * config_->Dh;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    CudaLayerState& layer = layers_[i];
    if (isRecurrent(*config_, i)) {
      layer.h = fixed;
      layer.conv = fixed + config_->R;
      fixed += recurrentFloats(*config_);
      continue;
    }
    float*& place = isGlobal(*config_, i) ? global : fixed;
    const std::int64_t capacity = isGlobal(*config_, i) ? globalCapacity_ : config_->olderKeys() + 1;
    layer.ring = {place, place + capacity * row, capacity};
    if (capacity > 0) place += 2 * capacity * row;
  }
}

std::unique_ptr<BackendState> CudaState::clone() const {
  return guarded([&] {
    cuda::useDevice(device_);
    auto copy = std::make_unique<CudaState>(config_, stream_, device_);
    copy->growTo(globalCapacity_);
    cuda::copyOnDevice(copy->fixed_.data(), fixed_.data(), fixed_.bytes(), *stream_);
    if (global_.bytes() > 0)
      cuda::copyOnDevice(copy->global_.data(), global_.data(), global_.bytes(), *stream_);
    copy->position_ = position_;
    return copy;
  });
}

void CudaState::growTo(std::int64_t capacity) {
  if (capacity <= globalCapacity_ || sizesOf(*config_).global == 0) return;
  cuda::DeviceMemory larger = floats(sizesOf(*config_).global * count(capacity));
  std::swap(global_, larger);
  const std::int64_t before = globalCapacity_;
  const std::vector<CudaLayerState> old = layers_;
  globalCapacity_ = capacity;
  layOut();
  const std::size_t bytes = count(before * config_->kvHeads * config_->Dh) * sizeof(float);
  for (std::size_t i = 0; i < layers_.size() && before > 0; ++i) {
    if (!isGlobal(*config_, i)) continue;
    cuda::copyOnDevice(layers_[i].ring.keys, old[i].ring.keys, bytes, *stream_);
    cuda::copyOnDevice(layers_[i].ring.values, old[i].ring.values, bytes, *stream_);
  }
  stream_->wait();  // before the old memory goes
}

// The convolution's inputs that HostState keeps, and where they lie.
template <typename Use>
void CudaState::forEachTail(const CudaLayerState& layer, const Use& use) const {
  const std::int64_t R = config_->R;
  const std::int64_t kept = std::min(position_, config_->K - 1);
  const std::int64_t missing = config_->K - 1 - kept;
  forEachStretch(position_ - kept, kept, config_->K,
                 [&](std::int64_t done, std::int64_t slot, std::int64_t rows) {
                   use((missing + done) * R, layer.conv + slot * R, floatBytes(rows * R));
                 });
}

HostState CudaState::download(std::int64_t newestKeys) const {
  return guarded([&] {
    cuda::useDevice(device_);
    const std::int64_t row = config_->kvHeads * config_->Dh;
    HostState state;
    state.position = position_;
    state.layers.resize(layers_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const CudaLayerState& from = layers_[i];
      LayerState& to = state.layers[i];
      if (isRecurrent(*config_, i)) {
        to.h.resize(count(config_->R));
        cuda::copyToHost(to.h.data(), from.h, floatBytes(config_->R), *stream_);
        to.tail.assign(count((config_->K - 1) * config_->R), 0.0F);
        forEachTail(from, [&](std::int64_t offset, const float* onCard, std::size_t bytes) {
          cuda::copyToHost(to.tail.data() + offset, onCard, bytes, *stream_);
        });
        continue;
      }
      const std::int64_t n =
          std::min(rememberedKeys(*config_, static_cast<std::int64_t>(i), position_), newestKeys);
      to.keys.resize(count(n * row));
      to.values.resize(count(n * row));
      forEachStretch(
          position_ - n, n, from.ring.capacity, [&](std::int64_t done, std::int64_t slot, std::int64_t rows) {
            const std::size_t bytes = floatBytes(rows * row);
            cuda::copyToHost(to.keys.data() + done * row, from.ring.keys + slot * row, bytes, *stream_);
            cuda::copyToHost(to.values.data() + done * row, from.ring.values + slot * row, bytes, *stream_);
          });
    }
    stream_->wait();
    return state;
  });
}

void CudaState::restore(const HostState& state) {
  const std::int64_t row = config_->kvHeads * config_->Dh;
  position_ = state.position;
  growTo(position_ + 1);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerState& from = state.layers[i];
    const CudaLayerState& to = layers_[i];
    if (isRecurrent(*config_, i)) {
      cuda::copyToDevice(to.h, from.h.data(), floatBytes(config_->R), *stream_);
      forEachTail(to, [&](std::int64_t offset, float* onCard, std::size_t bytes) {
        cuda::copyToDevice(onCard, from.tail.data() + offset, bytes, *stream_);
      });
      continue;
    }
    const std::int64_t n = rememberedKeys(*config_, static_cast<std::int64_t>(i), position_);
    forEachStretch(
        position_ - n, n, to.ring.capacity, [&](std::int64_t done, std::int64_t slot, std::int64_t rows) {
          const std::size_t bytes = floatBytes(rows * row);
          cuda::copyToDevice(to.ring.keys + slot * row, from.keys.data() + done * row, bytes, *stream_);
          cuda::copyToDevice(to.ring.values + slot * row, from.values.data() + done * row, bytes, *stream_);
        });
  }
  stream_->wait();
}

std::uint64_t CudaState::bytes() const {
  return fixed_.bytes() + global_.bytes();
}

}  // namespace eyrie::engine
