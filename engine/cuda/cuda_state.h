// One sequence's state on the card.
#pragma once

#include <memory>
#include <vector>

#include "engine/sequence_state.h"
#include "kernels/attention.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::engine {

// Where one layer's state lies on the card. A recurrent layer has h (R) and the convolution's last K inputs,
// that of position p in slot p mod K; an attention layer a ring of keys and values that holds a token's own
// key too, position s in slot s mod capacity; where a head is a multiple of four long, rings can be read 16
// bytes at a time. Local attention has its whole window from the start, so that nothing moves; global
// attention grows, and before it wraps.
struct CudaLayerState {
  float* h = nullptr;
  float* conv = nullptr;
  kernels::KvRing ring;
};

// Everything is done on `stream` of device `device`, in order with the backend's work.
class CudaState final : public BackendState {
 public:
  static constexpr std::int64_t kSmallestRing = 64;  // keys of global attention

  // Of a sequence that has read next to nothing.
  static std::size_t bytesAtFirst(const ModelConfig& config);

  CudaState(std::shared_ptr<const ModelConfig> config,
            std::shared_ptr<const kernels::cuda::OwnedStream> stream, int device);

  // As the backend's calls, these choose the device, and throw Error(outOfMemory) and Error(deviceFailed).
  std::unique_ptr<BackendState> clone() const override;
  HostState download(std::int64_t newestKeys) const override;
  std::uint64_t bytes() const override;

  void restore(const HostState& state);
  // Global attention gets room for so many keys; nothing happens where it has it.
  void growTo(std::int64_t capacity);
  std::int64_t globalCapacity() const { return globalCapacity_; }
  const CudaLayerState& layer(int layerIdx) const { return layers_[static_cast<std::size_t>(layerIdx)]; }
  void advance(std::int64_t tokens) { position_ += tokens; }

 private:
  struct Sizes {
    std::size_t fixed = 0;   // floats of recurrent layers and windows
    std::size_t global = 0;  // floats of global attention, for each key
  };
  static Sizes sizesOf(const ModelConfig& config);
  void layOut();
  template <typename Use>
  void forEachTail(const CudaLayerState& layer, const Use& use) const;

  std::shared_ptr<const ModelConfig> config_;
  std::shared_ptr<const kernels::cuda::OwnedStream> stream_;
  int device_;
  kernels::cuda::DeviceMemory fixed_;
  kernels::cuda::DeviceMemory global_;
  std::vector<CudaLayerState> layers_;
  std::int64_t globalCapacity_ = 0;
  std::int64_t position_ = 0;
};

}  // namespace eyrie::engine
