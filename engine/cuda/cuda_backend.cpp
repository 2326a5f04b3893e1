#include "engine/cuda/cuda_backend.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "engine/cuda/guarded.h"
#include "engine/cuda/make_cuda_backend.h"
#include "engine/error.h"
#include "engine/kept_crossovers.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/range.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;

constexpr std::size_t kMostGraphs = 16;

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

CudaBackend::CudaBackend(const Weights& weights, const std::filesystem::path& cacheFolder, bool graphs)
    : checkpoint_(weights.checkpoint),
      config_(std::make_shared<const ModelConfig>(checkpoint_->config())),
      stream_(std::make_shared<const cuda::OwnedStream>()),
      device_(cuda::deviceFacts()),
      stepTaps_(config_),
      takesGraphs_(graphs) {
  takeMemory(weights);
  try {
    blas_ = std::make_unique<cuda::Blas>(blasWorkspace_);
  } catch (const cuda::CudaError& error) {
    whyNoBlas_ = error.what();
  }
  const cuda::MatmulCrossover estimated = blas_ ? cuda::MatmulCrossover{} : cuda::kCrossoverWithoutBlas;
  crossover_ = keptCrossover(cacheFolder, name()).value_or(estimated);
}

std::string CudaBackend::nameOf(const cuda::DeviceFacts& device, bool hasBlas) {
  return fmt::format("cuda · {}{}", device.name, hasBlas ? "" : " · without cuBLAS");
}

std::string CudaBackend::name() const {
  return nameOf(device_, blas_ != nullptr);
}

std::unique_ptr<BackendState> CudaBackend::newState() const {
  return guarded([&] {
    cuda::useDevice(device_.index);  // a thread begins with the first one
    return std::make_unique<CudaState>(config_, stream_, device_.index);
  });
}

std::unique_ptr<BackendState> CudaBackend::restoreState(const HostState& state) const {
  return guarded([&] {
    cuda::useDevice(device_.index);
    auto restored = std::make_unique<CudaState>(config_, stream_, device_.index);
    restored->restore(state);
    return restored;
  });
}

std::int64_t CudaBackend::visibleSpan(int layerIdx) const {
  const bool local = config_->blocks[count(layerIdx)] == BlockKind::localAttention;
  return local ? std::min(config_->olderKeys() + 1, chunk_.keys) : chunk_.keys;
}

void CudaBackend::placeInputs(std::byte* base, Inputs& inputs) const {
  const std::size_t pointers = count(config_->L) * parts_.size();
  inputs.first = reinterpret_cast<float**>(base);
  inputs.second = inputs.first + pointers;
  inputs.positions = reinterpret_cast<std::int64_t*>(inputs.second + pointers);
  inputs.begins = inputs.positions + chunk_.T;
  inputs.tokens = reinterpret_cast<std::int32_t*>(inputs.begins + chunk_.sequences + 1);
  inputs.owners = inputs.tokens + chunk_.T;
  inputs.draws = reinterpret_cast<kernels::DrawRule*>(inputs.owners + chunk_.T);
  inputs.inverseTemperature = reinterpret_cast<float*>(inputs.draws + chunk_.rankedRows);
}

void CudaBackend::upload(std::span<const ChunkPart> parts) {
  const cuda::Range range("inputs sent");
  inputsSent_.wait();  // the last chunk's copy
  if (inputsHost_.bytes() < inputBytes(chunk_)) inputsHost_ = cuda::PinnedMemory(2 * inputBytes(chunk_));
  Inputs host;
  placeInputs(inputsHost_.data(), host);
  for (std::size_t row = 0; row < draws_.size(); ++row) {
    host.draws[row] = draws_[row];
    host.inverseTemperature[row] = draws_[row].temperature > 0 ? 1.0F / draws_[row].temperature : 1.0F;
  }
  host.begins[parts_.size()] = chunk_.T;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    std::copy(parts[i].tokens.begin(), parts[i].tokens.end(), host.tokens + part.firstRow);
    std::iota(host.positions + part.firstRow, host.positions + part.firstRow + part.T, part.position);
    std::fill_n(host.owners + part.firstRow, part.T, static_cast<std::int32_t>(i));
    host.begins[i] = part.firstRow;
    for (int layerIdx = 0; layerIdx < static_cast<int>(config_->L); ++layerIdx) {
      const CudaLayerState& layer = part.state->layer(layerIdx);
      const bool recurrent = config_->blocks[count(layerIdx)] == BlockKind::recurrent;
      const std::size_t at = count(layerIdx) * parts_.size() + i;
      host.first[at] = recurrent ? layer.conv : layer.ring.keys;
      host.second[at] = recurrent ? layer.h : layer.ring.values;
    }
  }
  placeInputs(scratch_.inputs.as<std::byte>(), inputs_);
  cuda::copyToDevice(scratch_.inputs.as<std::byte>(), inputsHost_.data(), inputBytes(chunk_), *stream_);
  uploadEdits();
  inputsSent_.record(*stream_);
}

void CudaBackend::takeParts(std::span<const ChunkPart> parts) {
  parts_.clear();
  chunk_ = {};
  deferred_ = true;
  std::int64_t ringKeys = CudaState::kSmallestRing;
  for (const ChunkPart& from : parts) {
    const auto T = static_cast<std::int64_t>(from.tokens.size());
    auto* state = static_cast<CudaState*>(from.state);
    parts_.push_back({state, from.position, chunk_.T, T, from.edits});
    chunk_.T += T;
    chunk_.keys = std::max(chunk_.keys, from.position + T);
    deferred_ = deferred_ && T == 1 && from.edits == nullptr;
    ringKeys = std::max(ringKeys, state->globalCapacity());
  }
  chunk_.sequences = std::ssize(parts_);
  if (!config_->hasKind(BlockKind::globalAttention)) return;
  // Sequences of one step share one size of ring; doubling keeps copies and graphs few.
  chunk_.globalCapacity = CudaState::kSmallestRing;
  while (chunk_.globalCapacity < std::max(ringKeys, chunk_.keys)) chunk_.globalCapacity *= 2;
}

void CudaBackend::begin(std::span<const ChunkPart> parts, const ChunkPlan& plan) {
  guarded([&] {
    cuda::useDevice(device_.index);
    takeParts(parts);
    chunk_.headRows = plan.headRows;
    draws_.assign(plan.draws.begin(), plan.draws.end());
    chunk_.rankedRows = std::ssize(draws_);
    observed_ = plan.observe != Observe::nothing;
    for (const Part& part : parts_) part.state->growTo(chunk_.globalCapacity);
    stepHead_ = StepHead::none;
    if (deferred_ && plan.headRows == chunk_.T)
      stepHead_ = !draws_.empty() ? StepHead::ranking : StepHead::logits;
    stepTaps_.holdBack(*stream_);
    reserve();
    upload(parts);
    if (!deferred_) embed();
  });
}

void CudaBackend::embed() {
  const float scale = config_->scaleEmbedding ? kernels::embeddingScale(config_->D) : 1.0F;
  cuda::embed({weights_.embedding().view, inputs_.tokens, scale, chunk_.T, scratch_.hidden.as<float>()},
              *stream_);
  cuda::ropeTable(
      {inputs_.positions, config_->ropeTheta, chunk_.T, config_->rotary, scratch_.angles.as<float>()},
      *stream_);
}

RecurrentView CudaBackend::recurrentBlock(int layerIdx, Observe observe) {
  if (deferred_)
    return observe == Observe::nothing ? RecurrentView{} : stepTaps_.recurrent(layerIdx, observe);
  return guarded([&] {
    const bool observed = observe != Observe::nothing;
    chunkRecurrent(layerIdx, observed);
    return observed ? recurrentView(observe) : RecurrentView{};
  });
}

AttentionView CudaBackend::attentionBlock(int layerIdx, Observe observe) {
  if (deferred_)
    return observe == Observe::nothing ? AttentionView{} : stepTaps_.attention(layerIdx, observe);
  return guarded([&] {
    AttentionView view;
    if (observe != Observe::nothing) view = {scratch_.weights.as<float>(), visibleSpan(layerIdx), nullptr};
    chunkAttention(layerIdx, view);
    if (observe == Observe::nothing) return view;
    view.weights = toHost(0, view.weights, chunk_.T * config_->H * view.span);
    stream_->wait();
    return view;
  });
}

void CudaBackend::mlpBlock(int layerIdx) {
  if (deferred_) return;
  guarded([&] {
    const CudaLayerWeights& w = weights_.layer(layerIdx);
    multiplyMlp(w, residual(layerIdx, &LayerEdits::mlp, w.down, w.downBias), chunk_.T);
    addEdited(layerIdx, &LayerEdits::mlp);
  });
}

void CudaBackend::enqueueStep() {
  embed();
  deferred_ = false;  // the blocks themselves
  for (int layerIdx = 0; layerIdx < static_cast<int>(config_->L); ++layerIdx) {
    if (config_->blocks[count(layerIdx)] == BlockKind::recurrent) {
      stepRecurrent(layerIdx);
    } else {
      stepAttention(layerIdx);
    }
    mlpBlock(layerIdx);
  }
  deferred_ = true;
  if (!observed_) enqueueStepHead();
}

void CudaBackend::enqueueStepHead() {
  if (stepHead_ != StepHead::none) enqueueLogits(0, chunk_.T);
  if (stepHead_ == StepHead::ranking) enqueueRanking(chunk_.T);
}

// The first step of a kind is run as it is: cuBLAS loads what it needs. The second is captured.
void CudaBackend::runStep() {
  const cuda::Range range("step");
  if (!takesGraphs_) return enqueueStep();
  if (graphs_.size() > kMostGraphs) graphs_.clear();
  const StepHead head = observed_ ? StepHead::none : stepHead_;  // of the graph
  const StepKind kind{chunk_.sequences, chunk_.globalCapacity, observed_, head};
  const auto found = graphs_.find(kind);
  if (found == graphs_.end()) {
    enqueueStep();
    graphs_.try_emplace(kind);
    return;
  }
  if (!found->second) found->second = std::make_unique<cuda::Graph>(*stream_, [&] { enqueueStep(); });
  found->second->launch(*stream_);
}

void CudaBackend::end() {
  if (deferred_) {
    guarded([&] {
      runStep();
      if (!observed_) return;
      stepTaps_.send(*stream_);
      enqueueStepHead();
    });
  }
  for (const Part& part : parts_) part.state->advance(part.T);
}

void CudaBackend::showViews() {
  guarded([&] { stepTaps_.finish(); });
}

std::unique_ptr<Backend> makeCudaBackend(const Weights& weights, const std::filesystem::path& cacheFolder,
                                         bool graphs) {
  const cuda::DeviceList found = cuda::listDevices(1);
  if (found.devices.empty()) {
    throw Error(ErrorCode::unsupported, fmt::format("cuda: no device ({}); use --backend cpu", found.reason));
  }
  const ModelConfig& config = weights.checkpoint->config();
  if (config.Dh > cuda::kMaxHeadSize) {
    throw Error(ErrorCode::unsupported, fmt::format("cuda: heads of at most {}, found {}; use --backend cpu",
                                                    cuda::kMaxHeadSize, config.Dh));
  }
  return guarded([&] {
    cuda::useDevice(found.devices.front().index);
    return std::make_unique<CudaBackend>(weights, cacheFolder, graphs);
  });
}

}  // namespace eyrie::engine
