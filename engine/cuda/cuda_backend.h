// Backend on one card. Chunks of many rows go through tensor cores (kernels/cuda/matmul.h); steps of single
// tokens through fused kernels, captured with their head as a graph for each number of sequences (shown or
// not: step_taps.h), in which everything that changes (tokens, positions, where states lie, how tokens are
// drawn) is read from the card's memory.
//
// A chunk and single steps agree within the tolerances of the weights' type; so do steps of more sequences
// than the products' crossover and each of them alone. The last differs from the CPU backend, where they are
// equal.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "engine/backend.h"
#include "engine/cuda/cuda_buffer.h"
#include "engine/cuda/cuda_state.h"
#include "engine/cuda/cuda_weights.h"
#include "engine/cuda/step_taps.h"
#include "engine/intervention_plan.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/ops.h"

namespace eyrie::engine {

class CudaBackend final : public Backend {
 public:
  // Asks for all its memory before it uploads anything. Throws CudaError, OutOfDeviceMemory; makeCudaBackend
  // makes an Error of it.
  CudaBackend(const Weights& weights, const std::filesystem::path& cacheFolder, bool graphs);
  static std::string nameOf(const kernels::cuda::DeviceFacts& device, bool hasBlas);

  std::string name() const override;
  std::string remark() const override { return whyNoBlas_; }
  std::int64_t maxChunk() const override { return maxChunk_; }
  std::unique_ptr<BackendState> newState() const override;
  std::unique_ptr<BackendState> restoreState(const HostState& state) const override;
  void begin(std::span<const ChunkPart> parts, const ChunkPlan& plan) override;
  RecurrentView recurrentBlock(int layerIdx, Observe observe) override;
  AttentionView attentionBlock(int layerIdx, Observe observe) override;
  void mlpBlock(int layerIdx) override;
  void end() override;
  bool viewsComeLate() const override { return deferred_ && observed_; }
  void showViews() override;
  std::span<const float> head(std::int64_t firstRow, std::int64_t rows) override;
  std::span<const RankedLogits> ranked(std::int64_t firstRow, std::int64_t rows) override;

 private:
  // One sequence's rows of the current chunk.
  struct Part {
    CudaState* state;
    std::int64_t position;
    std::int64_t firstRow;
    std::int64_t T;
    const ChunkEdits* edits;
  };
  // What decides how much memory a chunk takes.
  struct ChunkShape {
    std::int64_t T = 0;
    std::int64_t sequences = 0;
    std::int64_t keys = 0;            // of the longest of them, this chunk's among them
    std::int64_t globalCapacity = 0;  // of rings of global attention
    std::int64_t headRows = 0;
    std::int64_t rankedRows = 0;
  };
  // x, RMS-normed first where there is a weight.
  struct Source {
    const float* x = nullptr;
    const float* normWeight = nullptr;
  };
  struct Target {
    const CudaMatrix& weight;
    const float* bias = nullptr;
    float* out = nullptr;
    bool accumulate = false;
  };
  // What the card reads anew for every chunk.
  struct Inputs {
    std::int32_t* tokens = nullptr;       // (T)
    std::int64_t* positions = nullptr;    // (T)
    std::int64_t* begins = nullptr;       // (parts + 1): their first rows, then T
    std::int32_t* owners = nullptr;       // (T): which part a row is of
    float** first = nullptr;              // (L, parts): convolution's ring, or keys
    float** second = nullptr;             // (L, parts): h, or values
    kernels::DrawRule* draws = nullptr;   // (ranked rows)
    float* inverseTemperature = nullptr;  // (ranked rows)
  };
  struct Scratch {
    CudaBuffer hidden, out;  // (T, D)
    CudaBuffer a, b;         // (T, widest block)
    CudaBuffer c, d;         // (T, R or H Dh)
    CudaBuffer operand;      // (T, widest) of any type
    CudaBuffer logits;       // (rows, V)
    CudaBuffer taps[7];      // (T, R)
    CudaBuffer weights;      // (T, H, span)
    CudaBuffer statistics;   // (T, H, 2)
    CudaBuffer angles;       // (T, rotary / 2, 2)
    CudaBuffer workspace;    // of scan, attention, quantised products
    CudaBuffer inputs;
    CudaBuffer edits;    // those of the chunk
    CudaBuffer ranking;  // of ranked() (rows): its results, then its workspaces
  };
  using Columns = std::vector<ColumnEdit> LayerEdits::*;
  // What lies `at` bytes into the chunk's edits: a count and so many cuda::ColumnEdit, or, where `columns` is
  // null, what the scan of the part that begins at `firstRow` is overridden with, (10, R).
  struct PlacedEdits {
    int layerIdx;
    Columns columns;
    std::int64_t firstRow;
    std::size_t at;
  };
  // A part whose edits lie on the card.
  struct SentEdits {
    std::uint64_t serial;  // of its ChunkEdits
    std::int64_t firstRow;
    std::int64_t T;
    bool operator==(const SentEdits&) const = default;
  };

  // Memory (cuda_memory.cpp).
  void takeMemory(const Weights& weights);
  void reserve();
  template <typename Use>
  void forEachBuffer(const ChunkShape& chunk, const Use& use);
  ChunkShape longestChunk(std::int64_t rows) const;
  std::size_t scratchBytes(std::int64_t rows);  // of a longest chunk
  std::size_t workspaceBytes(const ChunkShape& chunk) const;
  std::size_t inputBytes(const ChunkShape& chunk) const;
  std::int64_t ringCapacity(const ChunkShape& chunk, int layerIdx) const;
  std::int64_t splitsOf(const ChunkShape& chunk, int layerIdx) const;

  // Beginning a chunk.
  void takeParts(std::span<const ChunkPart> parts);
  void upload(std::span<const ChunkPart> parts);
  void placeInputs(std::byte* base, Inputs& inputs) const;
  kernels::cuda::SequenceRows sequences() const {
    return {inputs_.begins, inputs_.owners, inputs_.positions, chunk_.sequences};
  }
  void embed();
  std::int64_t visibleSpan(int layerIdx) const;

  // Single tokens: the whole step at once.
  void enqueueStep();
  void enqueueStepHead();
  void runStep();
  void stepRecurrent(int layerIdx);
  void stepAttention(int layerIdx);

  // Chunks.
  void chunkRecurrent(int layerIdx, bool observed);
  void chunkAttention(int layerIdx, const AttentionView& view);
  bool onTensorCores(const Part& part, int layerIdx) const;
  void attendPart(const Part& part, int layerIdx, const AttentionView& view, bool asOperand);
  void scan(int layerIdx, bool observed, std::optional<kernels::DType> operandType);
  kernels::cuda::RgLruBatchArgs scanArgs(int layerIdx, std::int64_t firstRow, std::int64_t T, bool observed,
                                         std::optional<kernels::DType> operandType) const;
  void complexScanPart(const Part& part, int layerIdx, bool observed);
  // Where the rows from `firstRow` on are shown. Gates have C values a row, what is written and kept R.
  kernels::RgLruTaps taps(std::int64_t firstRow) const;
  kernels::ComplexRgLruTaps complexTaps(std::int64_t firstRow) const;
  void gates(const CudaLayerWeights& w);

  // Products (cuda_products.cpp).
  bool few(const CudaMatrix& weight, std::int64_t rows) const;
  void multiply(const Source& from, std::initializer_list<Target> targets, std::int64_t rows);
  void multiplyFew(const Source& from, std::initializer_list<Target> targets, std::int64_t rows);
  void multiplyOperand(const void* x, const Target& target, std::int64_t rows,
                       kernels::DType outType = kernels::DType::f32);
  const void* operandOf(const Source& from, const CudaMatrix& weight, std::int64_t rows);
  // activation(gate) * up through `target`.
  void multiplyGated(const float* gate, float* up, const Target& target, std::int64_t rows);
  void multiplyMlp(const CudaLayerWeights& w, const Target& down, std::int64_t rows);
  void multiplyGate(const CudaLayerWeights& w, std::int64_t rows);

  // The head (cuda_head.cpp).
  std::size_t rankingBytes(std::int64_t rows) const;
  void enqueueLogits(std::int64_t firstRow, std::int64_t rows);
  void enqueueRanking(std::int64_t rows);

  // Interventions (cuda_edits.cpp).
  const LayerEdits* editsOf(const Part& part, int layerIdx) const;
  void uploadEdits();
  void gatherEdits();
  void sendEdits();
  void gatherColumns(int layerIdx, Columns columns);
  void gatherScan(const Part& part, int layerIdx);
  void append(const void* values, std::size_t bytes);
  // On the card; null: there are none.
  const std::byte* editsAt(int layerIdx, Columns columns, std::int64_t firstRow = 0) const;
  void edit(int layerIdx, Columns columns, float* rows, std::int64_t width);
  // Where a block's product goes: to the hidden rows, or first to where it can be edited.
  Target residual(int layerIdx, Columns columns, const CudaMatrix& weight, const float* bias) const;
  void addEdited(int layerIdx, Columns columns);
  void scanEdited(const Part& part, int layerIdx, kernels::cuda::RgLruBatchArgs batch);

  // Observation: to the host, complete when this returns.
  RecurrentView recurrentView(Observe observe);
  const float* toHost(std::size_t slot, const float* from, std::int64_t count);

  bool isComplex() const { return config_->rgLru == RgLru::complex; }
  std::int64_t width() const { return config_->H * config_->Dh; }
  float* row(const CudaBuffer& buffer, std::int64_t row, std::int64_t width) const {
    return buffer.as<float>() + row * width;
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::shared_ptr<const ModelConfig> config_;
  std::shared_ptr<const kernels::cuda::OwnedStream> stream_;
  kernels::cuda::DeviceFacts device_;
  kernels::cuda::DeviceArena arena_;
  CudaWeights weights_;
  std::byte* blasWorkspace_ = nullptr;
  std::unique_ptr<kernels::cuda::Blas> blas_;  // null: there is no cuBLAS
  std::string whyNoBlas_;
  kernels::cuda::MatmulCrossover crossover_;
  std::int64_t maxChunk_ = 0;

  Scratch scratch_;
  StepTaps stepTaps_;
  kernels::cuda::PinnedMemory inputsHost_;
  kernels::cuda::Event inputsSent_;
  Inputs inputs_;
  std::vector<std::byte> edits_;  // of the chunk, in turn copied through pinned memory to scratch_.edits
  std::vector<PlacedEdits> placedEdits_;
  std::optional<std::vector<SentEdits>> sentEdits_;  // none: nobody knows what lies there
  kernels::cuda::PinnedMemory editsHost_;
  kernels::cuda::PinnedMemory logitsHost_;
  kernels::cuda::PinnedMemory rankingHost_;
  std::vector<RankedLogits> ranked_;      // what lies there
  std::vector<kernels::DrawRule> draws_;  // of the chunk
  std::vector<kernels::cuda::PinnedMemory> tapsHost_;

  std::vector<Part> parts_;  // of the current chunk
  ChunkShape chunk_;
  bool deferred_ = false;  // all parts are single tokens, none edited: done by end()
  bool observed_ = false;  // some block will be asked to show something
  // What end() begins to compute of a step's head: all its rows' logits, and their ranking. In the step's
  // graph, or where the step shows something, which is on its way meanwhile, behind it.
  enum class StepHead { none, logits, ranking };
  StepHead stepHead_ = StepHead::none;
  bool takesGraphs_;
  // By sequences, keys of global attention, whether the step shows anything, and the head in its graph.
  using StepKind = std::tuple<std::int64_t, std::int64_t, bool, StepHead>;
  std::map<StepKind, std::unique_ptr<kernels::cuda::Graph>> graphs_;  // null: this kind was run once
};

}  // namespace eyrie::engine
