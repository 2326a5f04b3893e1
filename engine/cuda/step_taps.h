// What the fused kernels of a step of single tokens show, of all layers at once: on the card, and what was
// asked of it on its way to the host. It is summed up and copied on a stream of its own, while the head is
// computed.
#pragma once

#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/config.h"
#include "kernels/complex_rg_lru.h"
#include "kernels/cuda/runtime.h"
#include "kernels/rg_lru.h"

namespace eyrie::engine {

class StepTaps {
 public:
  explicit StepTaps(std::shared_ptr<const ModelConfig> config);

  // Room for so many sequences, whose attention layers see `spans` (L) keys; nothing is asked for yet.
  // Whether it lies elsewhere now; where this throws, it may.
  bool reserve(std::int64_t sequences, std::vector<std::int64_t> spans);

  // Where kernels write, on the card.
  kernels::RgLruTaps real(int layerIdx) const;
  kernels::ComplexRgLruTaps complex(int layerIdx) const;
  float* weights(int layerIdx) const;           // (N, H, span)
  float* attentionSummary(int layerIdx) const;  // (N, H, 2)
  std::int64_t span(int layerIdx) const { return spans_[static_cast<std::size_t>(layerIdx)]; }

  // Asks for them; there when finish() has returned.
  RecurrentView recurrent(int layerIdx, Observe observe);
  AttentionView attention(int layerIdx, Observe observe);

  // After the step's kernels were given to `stream`, and before anything else that writes here is.
  void send(kernels::cuda::Stream stream);
  void finish();
  // Makes `stream` wait for what is being sent.
  void holdBack(kernels::cuda::Stream stream) const { sent_.holdBack(stream); }

 private:
  struct Gates {
    float *recurrence, *input, *logDecay, *decay, *angle;  // (N, C)
    float *write, *keep;                                   // (N, R)
  };
  void layOut(std::int64_t sequences, std::vector<std::int64_t> spans);
  void makeRoom();
  bool isRecurrent(int layerIdx) const;
  std::int64_t blockFloats(int layerIdx) const;
  Gates gatesIn(std::byte* base, int layerIdx) const;
  float* state(int layerIdx);  // in states_
  float* in(std::byte* base, std::int64_t offset) const { return reinterpret_cast<float*>(base) + offset; }
  void copy(std::int64_t begin, std::int64_t end) const;
  void sumUp() const;

  std::shared_ptr<const ModelConfig> config_;
  // In floats: summaries, then recurrent layers, then attention layers. The same on card and host.
  std::vector<std::int64_t> summaries_;  // (L)
  std::vector<std::int64_t> blocks_;     // (L + 1), where each layer's arrays begin
  std::vector<std::int64_t> spans_;      // (L)
  std::vector<Observe> asked_;           // (L)
  std::int64_t N_ = 0;
  std::int64_t recurrentLayers_ = 0;
  std::int64_t layerFloats_ = 0;  // of a recurrent layer
  std::int64_t firstBlock_ = 0;   // where summaries end; of a recurrent layer, if there is one
  std::int64_t floats_ = 0;

  kernels::cuda::DeviceMemory onCard_;
  kernels::cuda::PinnedMemory onHost_;
  std::vector<float> states_;  // (recurrent layers, N, R), where asked for
  kernels::cuda::OwnedStream stream_;
  kernels::cuda::Event stepped_;
  kernels::cuda::Event sent_;
};

}  // namespace eyrie::engine
