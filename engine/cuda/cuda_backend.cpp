#include "engine/cuda/cuda_backend.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "engine/cuda/guarded.h"
#include "engine/cuda/make_cuda_backend.h"
#include "engine/error.h"
#include "kernels/cuda/device.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

constexpr std::int64_t kMostRows = 4096;  // of a chunk
constexpr std::int64_t kLeastRows = 128;  // and of the most sequences a step has
constexpr std::size_t kMostGraphs = 16;
constexpr std::int64_t kSmallestRing = 64;  // keys of global attention

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// What grows by one with every token gets room for twice as much, not a place of its own each time.
std::int64_t roomFor(std::int64_t n) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)));
}

// Floats of scratch that a row of a chunk takes.
std::int64_t rowFloats(const ModelConfig& config) {
  const std::int64_t block = std::max(config.R, config.H * config.Dh);
  const std::int64_t widest = std::max(block, config.E);
  return 2 * config.D + 3 * widest + 2 * block;
}

}  // namespace

bool CudaBuffer::atLeast(std::size_t bytes) {
  if (bytes <= memory_.bytes()) return false;
  memory_ = {};  // the old one first: both together may not fit
  memory_ = cuda::DeviceMemory(bytes);
  return true;
}

CudaBackend::CudaBackend(const Weights& weights)
    : checkpoint_(weights.checkpoint),
      config_(std::make_shared<const ModelConfig>(checkpoint_->config())),
      stream_(std::make_shared<const cuda::OwnedStream>()),
      device_(cuda::deviceFacts()),
      weights_(weights),
      blasWorkspace_(cuda::Blas::kWorkspaceBytes),
      stepTaps_(config_) {
  try {
    blas_ = std::make_unique<cuda::Blas>(blasWorkspace_.data());
  } catch (const cuda::CudaError&) {
    blasWorkspace_ = {};
    crossover_ = cuda::kCrossoverWithoutBlas;
  }
  // A quarter of what is left for scratch; sequences need the rest.
  const auto fitting =
      static_cast<std::int64_t>(cuda::freeDeviceMemory() / 4 / floatBytes(rowFloats(*config_)));
  maxChunk_ = std::clamp(fitting, kLeastRows, kMostRows);
}

std::string CudaBackend::name() const {
  return fmt::format("cuda · {}{}", device_.name, blas_ ? "" : " · without cuBLAS");
}

std::unique_ptr<BackendState> CudaBackend::newState() const {
  return guarded([&] {
    cuda::useDevice(device_.index);  // a thread begins with the first one
    return std::make_unique<CudaState>(config_, stream_);
  });
}

std::unique_ptr<BackendState> CudaBackend::restoreState(const HostState& state) const {
  return guarded([&] {
    cuda::useDevice(device_.index);
    auto restored = std::make_unique<CudaState>(config_, stream_);
    restored->restore(state);
    return restored;
  });
}

// The longest of the chunk's sequences.
std::int64_t CudaBackend::visibleSpan(int layerIdx) const {
  std::int64_t keys = 0;
  for (const Part& part : parts_) keys = std::max(keys, part.position + part.T);
  const bool local = config_->blocks[count(layerIdx)] == BlockKind::localAttention;
  return local ? std::min(config_->olderKeys() + 1, keys) : keys;
}

// As many parts of a window as keep the card busy, none of them shorter than a few keys for each warp.
std::int64_t CudaBackend::splitsOf(int layerIdx) const {
  constexpr std::int64_t kKeysOfSplit = 64;
  const std::int64_t most = (capacityOf(layerIdx) + kKeysOfSplit - 1) / kKeysOfSplit;
  const std::int64_t wanted =
      2 * device_.processors / std::max<std::int64_t>(1, std::ssize(parts_) * config_->kvHeads);
  return std::clamp<std::int64_t>(wanted, 1, std::min<std::int64_t>(most, 32));
}

void CudaBackend::reserve(const ChunkPlan& plan) {
  Scratch& s = scratch_;
  const ModelConfig& c = *config_;
  const std::int64_t block = std::max(c.R, width());
  const std::int64_t widest = std::max({block, c.E, c.D});
  bool moved = false;
  const auto want = [&](CudaBuffer& buffer, std::int64_t floats) {
    moved |= buffer.atLeast(floatBytes(floats));
  };
  for (CudaBuffer* buffer : {&s.hidden, &s.out}) want(*buffer, T_ * c.D);
  for (CudaBuffer* buffer : {&s.a, &s.b, &s.operand}) want(*buffer, T_ * widest);
  for (CudaBuffer* buffer : {&s.c, &s.d}) want(*buffer, T_ * block);
  want(s.angles, T_ * c.rotary);
  want(s.logits, plan.headRows * c.V);
  moved |= s.ranking.atLeast(rankingBytes());
  moved |= s.inputs.atLeast(inputBytes());
  std::int64_t workspace =
      isComplex() ? cuda::complexRgLruWorkspace(T_, c.channels()) * std::int64_t{sizeof(float)} : 0;
  if (weights_.mostRows() > 0)
    workspace = std::max(workspace, cuda::packedMatmulWorkspace(weights_.mostRows(), weights_.widestRow()));
  for (int layerIdx = 0; layerIdx < static_cast<int>(c.L); ++layerIdx) {
    if (c.blocks[count(layerIdx)] == BlockKind::recurrent) continue;
    const std::int64_t split =
        cuda::decodeAttentionWorkspace(std::ssize(parts_), c.H, c.Dh, splitsOf(layerIdx));
    std::int64_t positions = 0;
    for (const Part& part : parts_) {
      const std::int64_t older = olderKeys(c, layerIdx, part.edits);
      positions = std::max(positions, std::min(older, part.position) + part.T);
    }
    workspace = std::max({workspace, split * std::int64_t{sizeof(float)},
                          cuda::tensorAttentionWorkspace(positions, c.kvHeads, c.Dh)});
    if (observed_ && !deferred_) {
      want(s.weights, T_ * c.H * roomFor(visibleSpan(layerIdx)));
      want(s.statistics, 2 * T_ * c.H);
    }
  }
  moved |= s.workspace.atLeast(count(workspace));
  if (observed_ && !deferred_ && c.hasKind(BlockKind::recurrent)) {
    for (CudaBuffer& tap : s.taps) want(tap, T_ * c.R);
  }
  if (observed_ && deferred_) {
    std::vector<std::int64_t> spans(count(c.L));  // the same for every position
    for (int layerIdx = 0; layerIdx < static_cast<int>(c.L); ++layerIdx) {
      if (c.blocks[count(layerIdx)] != BlockKind::recurrent) spans[count(layerIdx)] = capacityOf(layerIdx);
    }
    moved |= stepTaps_.reserve(T_, std::move(spans));
  }
  if (moved) graphs_.clear();
}

std::size_t CudaBackend::inputBytes() const {
  const std::size_t pointers = 2 * count(config_->L) * parts_.size() * sizeof(float*);
  return pointers + count(T_) * (sizeof(std::int64_t) + sizeof(std::int32_t)) + sizeof(float);
}

void CudaBackend::placeInputs(std::byte* base, Inputs& inputs) const {
  const std::size_t pointers = count(config_->L) * parts_.size();
  inputs.first = reinterpret_cast<float**>(base);
  inputs.second = inputs.first + pointers;
  inputs.positions = reinterpret_cast<std::int64_t*>(inputs.second + pointers);
  inputs.tokens = reinterpret_cast<std::int32_t*>(inputs.positions + T_);
  inputs.inverseTemperature = reinterpret_cast<float*>(inputs.tokens + T_);
}

void CudaBackend::upload(std::span<const ChunkPart> parts, float rankedAt) {
  inputsSent_.wait();  // the last chunk's copy
  if (inputsHost_.bytes() < inputBytes()) inputsHost_ = cuda::PinnedMemory(2 * inputBytes());
  Inputs host;
  placeInputs(inputsHost_.data(), host);
  *host.inverseTemperature = rankedAt > 0 ? 1.0F / rankedAt : 1.0F;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    std::copy(parts[i].tokens.begin(), parts[i].tokens.end(), host.tokens + part.firstRow);
    for (std::int64_t t = 0; t < part.T; ++t) host.positions[part.firstRow + t] = part.position + t;
    for (int layerIdx = 0; layerIdx < static_cast<int>(config_->L); ++layerIdx) {
      const CudaLayerState& layer = part.state->layer(layerIdx);
      const bool recurrent = config_->blocks[count(layerIdx)] == BlockKind::recurrent;
      const std::size_t at = count(layerIdx) * parts_.size() + i;
      host.first[at] = recurrent ? layer.conv : layer.ring.keys;
      host.second[at] = recurrent ? layer.h : layer.ring.values;
    }
  }
  placeInputs(scratch_.inputs.as<std::byte>(), inputs_);
  cuda::copyToDevice(scratch_.inputs.as<std::byte>(), inputsHost_.data(), inputBytes(), *stream_);
  inputsSent_.record(*stream_);
}

void CudaBackend::begin(std::span<const ChunkPart> parts, const ChunkPlan& plan) {
  guarded([&] {
    cuda::useDevice(device_.index);
    parts_.clear();
    T_ = 0;
    deferred_ = true;
    observed_ = plan.observe != Observe::nothing;
    std::int64_t keys = kSmallestRing;
    for (const ChunkPart& from : parts) {
      const auto T = static_cast<std::int64_t>(from.tokens.size());
      auto* state = static_cast<CudaState*>(from.state);
      parts_.push_back({state, from.position, T_, T, from.edits});
      T_ += T;
      deferred_ = deferred_ && T == 1 && from.edits == nullptr;
      keys = std::max({keys, state->globalCapacity(), from.position + T});
    }
    // Sequences of one step share one size of ring; doubling keeps copies and graphs few.
    std::int64_t capacity = kSmallestRing;
    while (capacity < keys) capacity *= 2;
    for (const Part& part : parts_) part.state->growTo(capacity);
    stepHead_ = StepHead::none;
    if (deferred_ && !observed_ && plan.headRows == T_)
      stepHead_ = plan.rankedAt > 0 && T_ == 1 ? StepHead::ranking : StepHead::logits;
    stepTaps_.holdBack(*stream_);
    reserve(plan);
    upload(parts, plan.rankedAt);
    if (!deferred_) embed();
  });
}

void CudaBackend::embed() {
  const float scale = config_->scaleEmbedding ? kernels::embeddingScale(config_->D) : 1.0F;
  cuda::embed({weights_.embedding().view, inputs_.tokens, scale, T_, scratch_.hidden.as<float>()}, *stream_);
  cuda::ropeTable({inputs_.positions, config_->ropeTheta, T_, config_->rotary, scratch_.angles.as<float>()},
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
    view.weights = toHost(0, view.weights, T_ * config_->H * view.span);
    stream_->wait();
    return view;
  });
}

void CudaBackend::mlpBlock(int layerIdx) {
  if (deferred_) return;
  guarded([&] {
    const CudaLayerWeights& w = weights_.layer(layerIdx);
    multiplyMlp(w, residual(layerIdx, &LayerEdits::mlp, w.down, w.downBias), T_);
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
  if (stepHead_ != StepHead::none) enqueueLogits(0, T_);
  if (stepHead_ == StepHead::ranking) enqueueRanking();
}

// The first step of a kind is run as it is: cuBLAS loads what it needs. The second is captured.
void CudaBackend::runStep() {
  if (graphs_.size() > kMostGraphs) graphs_.clear();
  const StepKind kind{std::ssize(parts_), parts_.front().state->globalCapacity(), observed_, stepHead_};
  const auto [found, isNew] = graphs_.try_emplace(kind);
  if (isNew) return enqueueStep();
  if (!found->second) found->second = std::make_unique<cuda::Graph>(*stream_, [&] { enqueueStep(); });
  found->second->launch(*stream_);
}

void CudaBackend::end() {
  if (deferred_) {
    guarded([&] {
      runStep();
      if (observed_) stepTaps_.send(*stream_);
    });
  }
  for (const Part& part : parts_) part.state->advance(part.T);
}

void CudaBackend::showViews() {
  guarded([&] { stepTaps_.finish(); });
}

std::unique_ptr<Backend> makeCudaBackend(const Weights& weights) {
  const cuda::DeviceList found = cuda::listDevices();
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
    return std::make_unique<CudaBackend>(weights);
  });
}

}  // namespace eyrie::engine
