// How much device memory a model takes, asked for at one go before its weights are uploaded, and what a chunk
// takes of it.
#include <algorithm>
#include <bit>
#include <utility>

#include "engine/cuda/cuda_backend.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

constexpr std::int64_t kMostRows = 4096;  // of a chunk
constexpr std::int64_t kLeastRows = 128;  // and of the most sequences a step has

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// What grows by one with every token gets room for twice as much, not a place of its own each time.
std::int64_t roomFor(std::int64_t n) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)));
}

}  // namespace

// Its windows full, the last row's logits asked for, ranked.
CudaBackend::ChunkShape CudaBackend::longestChunk(std::int64_t rows) const {
  return {rows, 1, config_->olderKeys() + rows, CudaState::kSmallestRing, 1, 1};
}

std::int64_t CudaBackend::ringCapacity(const ChunkShape& chunk, int layerIdx) const {
  const bool local = config_->blocks[count(layerIdx)] == BlockKind::localAttention;
  return local ? config_->olderKeys() + 1 : chunk.globalCapacity;
}

// As many parts of a window as keep the card busy, none of them shorter than a few keys for each warp.
std::int64_t CudaBackend::splitsOf(const ChunkShape& chunk, int layerIdx) const {
  constexpr std::int64_t kKeysOfSplit = 64;
  const std::int64_t most = (ringCapacity(chunk, layerIdx) + kKeysOfSplit - 1) / kKeysOfSplit;
  const std::int64_t wanted = 2 * device_.processors / (chunk.sequences * config_->kvHeads);
  return std::clamp<std::int64_t>(wanted, 1, std::min<std::int64_t>(most, 32));
}

std::size_t CudaBackend::workspaceBytes(const ChunkShape& chunk) const {
  const ModelConfig& c = *config_;
  std::int64_t bytes =
      isComplex() ? cuda::complexRgLruWorkspace(chunk.T, c.channels()) * std::int64_t{sizeof(float)} : 0;
  if (weights_.mostRows() > 0)
    bytes = std::max(bytes, cuda::packedMatmulWorkspace(weights_.mostRows(), weights_.widestRow()));
  for (int layerIdx = 0; layerIdx < static_cast<int>(c.L); ++layerIdx) {
    if (c.blocks[count(layerIdx)] == BlockKind::recurrent) continue;
    const std::int64_t split =
        cuda::decodeAttentionWorkspace(chunk.sequences, c.H, c.Dh, splitsOf(chunk, layerIdx));
    const std::int64_t older = std::min(olderKeys(c, layerIdx, nullptr), chunk.keys);
    const std::int64_t positions = std::min(older + chunk.T, chunk.keys);
    bytes = std::max({bytes, split * std::int64_t{sizeof(float)},
                      cuda::tensorAttentionWorkspace(positions, c.kvHeads, c.Dh)});
  }
  return count(bytes);
}

// What every chunk takes: use(buffer, bytes).
template <typename Use>
void CudaBackend::forEachBuffer(const ChunkShape& chunk, const Use& use) {
  Scratch& s = scratch_;
  const ModelConfig& c = *config_;
  const std::int64_t block = std::max(c.R, width());
  const std::int64_t widest = std::max({block, c.E, c.D});
  for (CudaBuffer* buffer : {&s.hidden, &s.out}) use(*buffer, floatBytes(chunk.T * c.D));
  for (CudaBuffer* buffer : {&s.a, &s.b, &s.operand}) use(*buffer, floatBytes(chunk.T * widest));
  for (CudaBuffer* buffer : {&s.c, &s.d}) use(*buffer, floatBytes(chunk.T * block));
  use(s.angles, floatBytes(chunk.T * c.rotary));
  use(s.logits, floatBytes(chunk.headRows * c.V));
  use(s.ranking, rankingBytes(chunk.rankedRows));
  use(s.inputs, inputBytes(chunk));
  use(s.workspace, workspaceBytes(chunk));
}

std::size_t CudaBackend::scratchBytes(std::int64_t rows) {
  std::size_t bytes = 0;
  forEachBuffer(longestChunk(rows),
                [&](const CudaBuffer&, std::size_t needed) { bytes += cuda::DeviceArena::taken(needed); });
  return bytes;
}

// Weights, cuBLAS's workspace and what chunks of one sequence need. Scratch gets at most a quarter of what
// weights and a first sequence (with its copy, to which a chunk that is stopped goes back) leave: others need
// the rest.
void CudaBackend::takeMemory(const Weights& weights) {
  weights_ = CudaWeights(weights);
  const std::size_t fixed = weights_.bytes() + cuda::Blas::kWorkspaceBytes;
  const std::size_t needed = fixed + 2 * CudaState::bytesAtFirst(*config_);
  const std::size_t free = cuda::freeDeviceMemory();
  const std::size_t least = needed + scratchBytes(kLeastRows);
  if (least > free) throw cuda::OutOfDeviceMemory(least, free);
  const std::size_t rowBytes = scratchBytes(kMostRows) / kMostRows;
  maxChunk_ = std::clamp(static_cast<std::int64_t>((free - needed) / 4 / rowBytes), kLeastRows, kMostRows);
  arena_ = cuda::DeviceArena(fixed + scratchBytes(maxChunk_));
  blasWorkspace_ = arena_.take(cuda::Blas::kWorkspaceBytes);
  forEachBuffer(longestChunk(maxChunk_),
                [&](CudaBuffer& buffer, std::size_t bytes) { buffer.takeFrom(arena_, bytes); });
  weights_ = CudaWeights(weights, arena_);
}

// What this chunk needs beyond what is there.
void CudaBackend::reserve() {
  Scratch& s = scratch_;
  const ModelConfig& c = *config_;
  // Forgotten unless everything stays where it is: one buffer may have moved when another finds no memory.
  auto graphs = std::exchange(graphs_, {});
  bool moved = false;
  const auto want = [&](CudaBuffer& buffer, std::size_t bytes) { moved |= buffer.atLeast(bytes); };
  forEachBuffer(chunk_, want);
  std::vector<std::int64_t> spans(count(c.L));  // of steps: the same for every position
  for (int layerIdx = 0; layerIdx < static_cast<int>(c.L); ++layerIdx) {
    if (!observed_ || c.blocks[count(layerIdx)] == BlockKind::recurrent) continue;
    spans[count(layerIdx)] = ringCapacity(chunk_, layerIdx);
    if (deferred_) continue;
    want(s.weights, floatBytes(chunk_.T * c.H * roomFor(visibleSpan(layerIdx))));
    want(s.statistics, floatBytes(2 * chunk_.T * c.H));
  }
  if (observed_ && !deferred_ && c.hasKind(BlockKind::recurrent)) {
    for (CudaBuffer& tap : s.taps) want(tap, floatBytes(chunk_.T * c.R));
  }
  if (observed_ && deferred_) moved |= stepTaps_.reserve(chunk_.T, std::move(spans));
  if (!moved) graphs_ = std::move(graphs);
}

std::size_t CudaBackend::inputBytes(const ChunkShape& chunk) const {
  const std::size_t pointers = 2 * count(config_->L * chunk.sequences) * sizeof(float*);
  const std::size_t perRow = sizeof(std::int64_t) + 2 * sizeof(std::int32_t);
  return pointers + count(chunk.T) * perRow + count(chunk.sequences + 1) * sizeof(std::int64_t) +
         count(chunk.rankedRows) * (sizeof(kernels::DrawRule) + sizeof(float));
}

}  // namespace eyrie::engine
