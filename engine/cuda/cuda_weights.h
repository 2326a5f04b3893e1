// A model's weights in the backend's piece of device memory, laid out as engine/weights.h has them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/weights.h"
#include "kernels/cuda/packed_rows.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::engine {

// As stored (`view`), or quantised (`packed`); the other one is empty.
struct CudaMatrix {
  kernels::DType dtype = kernels::DType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  kernels::MatrixView view;
  kernels::cuda::PackedRows packed;
};

// Pointers are to the card; null where the vector is empty.
struct CudaLayerWeights {
  const float* temporalNorm = nullptr;
  const float* channelNorm = nullptr;
  CudaMatrix linearX, linearY, linearOut, inputGate, recurrenceGate;
  const float* linearXBias = nullptr;
  const float* linearYBias = nullptr;
  const float* linearOutBias = nullptr;
  const float* convWeight = nullptr;
  const float* convBias = nullptr;
  const float* inputGateBias = nullptr;
  const float* recurrenceGateBias = nullptr;
  const float* decayRate = nullptr;
  const float* angleRate = nullptr;
  CudaMatrix q, k, v, o;
  const float* oBias = nullptr;
  CudaMatrix gate, up, down;
  const float* gateBias = nullptr;
  const float* upBias = nullptr;
  const float* downBias = nullptr;
};

class CudaWeights {
 public:
  CudaWeights() = default;
  // Their sizes alone, before anything is allocated; they lie nowhere.
  explicit CudaWeights(const Weights& weights);
  // Uploads through pinned memory (kernels/cuda/uploader.h) to bytes() of `arena`. Throws CudaError,
  // OutOfDeviceMemory.
  CudaWeights(const Weights& weights, kernels::cuda::DeviceArena& arena);

  std::size_t bytes() const { return bytes_; }
  const CudaMatrix& embedding() const { return embedding_; }
  const CudaMatrix& head() const { return head_; }
  const float* finalNorm() const { return finalNorm_; }
  const CudaLayerWeights& layer(int layerIdx) const { return layers_[static_cast<std::size_t>(layerIdx)]; }
  std::int64_t widestRow() const { return widestRow_; }  // cols of the widest quantised matrix
  std::int64_t mostRows() const { return mostRows_; }    // rows of the tallest one; 0: none is quantised

 private:
  class Placer;
  void place(Placer& placer, const Weights& weights);
  void placeLayer(Placer& placer, const LayerWeights& from, CudaLayerWeights& to);

  std::size_t bytes_ = 0;
  CudaMatrix embedding_, head_;
  const float* finalNorm_ = nullptr;
  std::vector<CudaLayerWeights> layers_;
  std::int64_t widestRow_ = 0;
  std::int64_t mostRows_ = 0;
};

}  // namespace eyrie::engine
