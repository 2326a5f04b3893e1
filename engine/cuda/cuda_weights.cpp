#include "engine/cuda/cuda_weights.h"

#include <algorithm>

#include "kernels/cuda/uploader.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;

}  // namespace

// Hands out the arena piece by piece. Without memory it only counts.
class CudaWeights::Placer {
 public:
  Placer() = default;
  Placer(cuda::DeviceArena& arena, cuda::Uploader& uploader) : arena_(&arena), uploader_(&uploader) {}

  std::size_t bytes() const { return bytes_; }

  const float* vector(const std::vector<float>& values) {
    if (values.empty()) return nullptr;
    return reinterpret_cast<const float*>(bytesOf(values.data(), values.size() * sizeof(float)));
  }

  CudaMatrix matrix(const kernels::MatrixView& from) {
    CudaMatrix to{from.dtype, from.rows, from.cols, {}, {}};
    if (from.data == nullptr) return to;
    if (kernels::isPacked(from.dtype)) {
      to.packed = packed(from);
    } else {
      to.view = from;
      to.view.data = bytesOf(
          from.data, static_cast<std::size_t>(from.rows * from.cols) * kernels::dtypeSize(from.dtype));
    }
    return to;
  }

 private:
  const std::byte* bytesOf(const void* from, std::size_t bytes) {
    bytes_ += cuda::DeviceArena::taken(bytes);
    if (arena_ == nullptr) return nullptr;
    std::byte* const to = arena_->take(bytes);
    uploader_->copy(to, from, bytes);
    return to;
  }

  cuda::PackedRows packed(const kernels::MatrixView& from) {
    const auto codes = static_cast<std::size_t>(from.rows * cuda::packedRowBytes(from.dtype, from.cols));
    const auto scales = static_cast<std::size_t>(from.rows * cuda::packedRowGroups(from.dtype, from.cols));
    codes_.resize(uploader_ == nullptr ? 0 : codes);
    scales_.resize(uploader_ == nullptr ? 0 : scales);
    if (uploader_ != nullptr) cuda::toRows(from, codes_.data(), scales_.data(), uploader_->pool());
    const std::byte* const onCard = bytesOf(codes_.data(), codes);
    const std::byte* const scalesOnCard = bytesOf(scales_.data(), scales * sizeof(std::uint16_t));
    return {onCard, reinterpret_cast<const std::uint16_t*>(scalesOnCard), from.dtype, from.rows, from.cols};
  }

  cuda::DeviceArena* arena_ = nullptr;
  cuda::Uploader* uploader_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<std::byte> codes_;
  std::vector<std::uint16_t> scales_;
};

void CudaWeights::placeLayer(Placer& placer, const LayerWeights& from, CudaLayerWeights& to) {
  to.temporalNorm = placer.vector(from.temporalNorm);
  const RecurrentWeights& r = from.recurrent;
  to.linearY = placer.matrix(r.linearY);
  to.linearX = placer.matrix(r.linearX);
  to.linearYBias = placer.vector(r.linearYBias);
  to.linearXBias = placer.vector(r.linearXBias);
  to.convWeight = placer.vector(r.convWeight);
  to.convBias = placer.vector(r.convBias);
  to.inputGate = placer.matrix(r.inputGate);
  to.recurrenceGate = placer.matrix(r.recurrenceGate);
  to.inputGateBias = placer.vector(r.inputGateBias);
  to.recurrenceGateBias = placer.vector(r.recurrenceGateBias);
  to.decayRate = placer.vector(r.decayRate);
  to.angleRate = placer.vector(r.angleRate);
  to.linearOut = placer.matrix(r.linearOut);
  to.linearOutBias = placer.vector(r.linearOutBias);
  const AttentionWeights& a = from.attention;
  to.q = placer.matrix(a.q);
  to.k = placer.matrix(a.k);
  to.v = placer.matrix(a.v);
  to.o = placer.matrix(a.o);
  to.oBias = placer.vector(a.oBias);
  to.channelNorm = placer.vector(from.channelNorm);
  to.gate = placer.matrix(from.mlp.gate);
  to.up = placer.matrix(from.mlp.up);
  to.down = placer.matrix(from.mlp.down);
  to.gateBias = placer.vector(from.mlp.gateBias);
  to.upBias = placer.vector(from.mlp.upBias);
  to.downBias = placer.vector(from.mlp.downBias);
  for (const CudaMatrix* matrix :
       {&to.linearX, &to.linearY, &to.linearOut, &to.q, &to.k, &to.v, &to.o, &to.gate, &to.up, &to.down}) {
    if (!kernels::isPacked(matrix->dtype)) continue;
    widestRow_ = std::max(widestRow_, matrix->cols);
    mostRows_ = std::max(mostRows_, matrix->rows);
  }
}

void CudaWeights::place(Placer& placer, const Weights& weights) {
  embedding_ = placer.matrix(weights.embedding);
  layers_.resize(weights.layers.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) placeLayer(placer, weights.layers[i], layers_[i]);
  finalNorm_ = placer.vector(weights.finalNorm);
  head_ = weights.head.data == weights.embedding.data ? embedding_ : placer.matrix(weights.head);
  bytes_ = placer.bytes();
  if (!kernels::isPacked(head_.dtype)) return;
  widestRow_ = std::max(widestRow_, head_.cols);
  mostRows_ = std::max(mostRows_, head_.rows);
}

CudaWeights::CudaWeights(const Weights& weights) {
  Placer placer;
  place(placer, weights);
}

CudaWeights::CudaWeights(const Weights& weights, cuda::DeviceArena& arena) {
  cuda::Uploader uploader;
  Placer placer(arena, uploader);
  place(placer, weights);
  uploader.finish();
}

}  // namespace eyrie::engine
