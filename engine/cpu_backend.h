// Backend in host memory over a table of CPU kernels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/cpu_ops.h"
#include "engine/intervention_plan.h"
#include "engine/weight_mover.h"
#include "engine/weights.h"
#include "kernels/pages.h"

namespace eyrie::engine {

// One layer's state. Keys and values stand in a ring that grows up to what the layer may see (for global
// attention: without end); position s lies in slot s mod capacity, which holds while growing because a ring
// grows only before it has wrapped.
struct CpuLayerState {
  std::vector<float> h;
  std::vector<float> tail;
  std::vector<float, kernels::HugePageAllocator<float>> keys;
  std::vector<float, kernels::HugePageAllocator<float>> values;
  std::int64_t capacity = 0;  // slots
};

class CpuState final : public BackendState {
 public:
  CpuState(const ModelConfig& config, int threads);

  // Of large states one half is copied by a second thread, if there are several.
  std::unique_ptr<BackendState> clone() const override;
  HostState download(std::int64_t newestKeys) const override;
  std::uint64_t bytes() const override;

  void restore(const HostState& state);
  // Makes room for `tokens` more. Strong guarantee: on bad_alloc nothing has changed but capacities.
  void grow(std::int64_t tokens);
  kernels::KvRing ring(int layerIdx);
  CpuLayerState& layer(int layerIdx) { return layers_[static_cast<std::size_t>(layerIdx)]; }
  void advance(std::int64_t tokens) { position_ += tokens; }

 private:
  std::shared_ptr<const ModelConfig> config_;
  int threads_;
  std::vector<CpuLayerState> layers_;
  std::int64_t position_ = 0;
};

// threads < 1: all cores. Matrices of at least `movedFrom` bytes together move into huge pages meanwhile.
class CpuBackend final : public Backend {
 public:
  CpuBackend(std::shared_ptr<const Weights> weights, const CpuOps& ops, int threads, std::uint64_t movedFrom);

  std::string name() const override;
  std::int64_t maxChunk() const override;
  std::unique_ptr<BackendState> newState() const override;
  std::unique_ptr<BackendState> restoreState(const HostState& state) const override;
  void begin(std::span<const ChunkPart> parts, const ChunkPlan& plan) override;
  RecurrentView recurrentBlock(int layerIdx, Observe observe) override;
  AttentionView attentionBlock(int layerIdx, Observe observe) override;
  void mlpBlock(int layerIdx) override;
  std::span<const float> head(std::int64_t firstRow, std::int64_t rows) override;
  void end() override;

 private:
  // One sequence's rows of the current chunk.
  struct Part {
    CpuState* state;
    std::int64_t position;
    std::int64_t firstRow;
    std::int64_t T;
    const ChunkEdits* edits;

    // Null where nothing is changed.
    const LayerEdits* layerEdits(int layerIdx) const;
  };
  using Columns = std::vector<ColumnEdit> LayerEdits::*;

  // Scratch for one chunk, grown on demand, never shrunk.
  struct Scratch {
    std::vector<float> hidden;   // (T, D)
    std::vector<float> normed;   // (T, D): a block's input, then what it adds to hidden
    std::vector<float> a, b;     // (T, widest MLP), or two of (T, widest temporal block)
    float* c = nullptr;          // the second of a's
    float* d = nullptr;          // the second of b's
    std::vector<float> logits;   // (rows, V)
    std::vector<float> taps[7];  // (T, R); the last for a complex recurrence only
    std::vector<float> weights;  // (T, H, span)
  };

  void reserve(const ChunkPlan& plan);
  void forgetRows();
  std::int64_t visibleSpan(std::int64_t layerIdx) const;
  kernels::ThreadPool& poolFor(double flops);
  // Then each one's rows are to have the bits that they have alone (LinearArgs::alone).
  bool severalSequences() const { return parts_.size() > 1; }
  void norm(const std::vector<float>& weight);
  void linear(const float* x, const kernels::MatrixView& weight, const std::vector<float>& bias, float* out);
  void gates(const RecurrentWeights& w, const float* c, float* inputPre, float* recurrencePre);
  void scan(const RecurrentWeights& w, const Part& part, int layerIdx, Observe observe);
  void complexScan(const RecurrentWeights& w, const Part& part, int layerIdx, Observe observe);
  kernels::RgLruTaps tapBuffers(Observe observe, std::int64_t firstRow);
  void attend(int layerIdx, const AttentionView& view);
  void attendPart(const Part& part, int layerIdx, const AttentionView& view, kernels::ThreadPool& pool);
  double attentionFlops(const Part& part, int layerIdx) const;
  // What interventions make of (T, width) rows.
  void edit(int layerIdx, Columns columns, float* rows, std::int64_t width) const;
  void addToHidden();

  std::shared_ptr<const Weights> weights_;
  WeightMover mover_;
  const ModelConfig& config_;
  const CpuOps& ops_;
  kernels::ThreadPool pool_;
  kernels::ThreadPool alone_{1};  // for work too small to be worth waking anybody
  Scratch scratch_;
  std::vector<Part> parts_;    // of the current chunk
  std::int64_t T_ = 0;         // its rows
  std::int64_t rowsRead_ = 0;  // of the embedding, since its pages were dropped
};

}  // namespace eyrie::engine
