// From hidden rows to predictions: all logits, or the largest of each row, ranked on the card, and the token
// drawn from them there.
#include <algorithm>

#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/guarded.h"
#include "kernels/cuda/range.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

// As many as a sampler shows; nearly every draw is made among them.
constexpr std::int64_t kRanked = 256;

std::int64_t rankedOf(const ModelConfig& config) {
  return std::min(kRanked, config.V);
}

// What comes back of a row.
constexpr std::size_t shownBytes(std::int64_t ranked) {
  return sizeof(kernels::Drawn) + 2 * sizeof(kernels::LogitStats) +
         static_cast<std::size_t>(ranked) * (sizeof(std::int32_t) + sizeof(float));
}
static_assert(shownBytes(1) % alignof(std::uint64_t) == 0);

// Of `rows` rows: what comes back from the card, and behind it the workspaces.
struct Ranking {
  kernels::Drawn* drawn;        // (rows)
  kernels::LogitStats* stats;   // (rows): of the logits
  kernels::LogitStats* scaled;  // (rows): of the logits / temperature
  std::int32_t* tokens;         // (rows, ranked)
  float* logits;                // (rows, ranked)
  std::uint64_t* workspace;

  Ranking(std::byte* base, std::int64_t rows, std::int64_t ranked)
      : drawn(reinterpret_cast<kernels::Drawn*>(base)),
        stats(reinterpret_cast<kernels::LogitStats*>(drawn + rows)),
        scaled(stats + rows),
        tokens(reinterpret_cast<std::int32_t*>(scaled + rows)),
        logits(reinterpret_cast<float*>(tokens + rows * ranked)),
        workspace(reinterpret_cast<std::uint64_t*>(logits + rows * ranked)) {}
};

}  // namespace

std::size_t CudaBackend::rankingBytes(std::int64_t rows) const {
  const std::int64_t V = config_->V;
  const std::int64_t k = rankedOf(*config_);
  return static_cast<std::size_t>(rows) *
         (shownBytes(k) + static_cast<std::size_t>(cuda::topKWorkspace(V, k)) * sizeof(std::uint64_t) +
          floatBytes(cuda::logitStatsWorkspace(V)));
}

void CudaBackend::enqueueLogits(std::int64_t firstRow, std::int64_t rows) {
  const cuda::Range range("head");
  float* const logits = scratch_.logits.as<float>();
  multiply({row(scratch_.hidden, firstRow, config_->D), weights_.finalNorm()},
           {{weights_.head(), nullptr, logits}}, rows);
  cuda::softCap({logits, rows * config_->V, config_->logitsSoftCap}, *stream_);
}

// Of the first rows of the logits, and what is drawn from them.
void CudaBackend::enqueueRanking(std::int64_t rows) {
  const cuda::Range range("ranking");
  const std::int64_t V = config_->V;
  const std::int64_t k = rankedOf(*config_);
  const float* const logits = scratch_.logits.as<float>();
  const Ranking onCard(scratch_.ranking.as<std::byte>(), rows, k);
  auto* const sums = reinterpret_cast<float*>(onCard.workspace + rows * cuda::topKWorkspace(V, k));
  cuda::topK({logits, V, k, onCard.tokens, onCard.logits}, onCard.workspace, *stream_, rows);
  cuda::logitStats({logits, rows, V, onCard.stats, inputs_.inverseTemperature, onCard.scaled, sums},
                   *stream_);
  cuda::draw(
      {onCard.logits, onCard.tokens, onCard.stats, onCard.scaled, inputs_.draws, rows, V, k, onCard.drawn},
      *stream_);
}

std::span<const float> CudaBackend::head(std::int64_t firstRow, std::int64_t rows) {
  return guarded([&] {
    const bool there = stepHead_ != StepHead::none;
    if (!there) enqueueLogits(firstRow, rows);
    const std::int64_t n = rows * config_->V;
    if (logitsHost_.bytes() < floatBytes(n)) logitsHost_ = cuda::PinnedMemory(floatBytes(n));
    cuda::copyToHost(logitsHost_.data(), row(scratch_.logits, there ? firstRow : 0, config_->V),
                     floatBytes(n), *stream_);
    stream_->wait();
    return std::span<const float>(reinterpret_cast<const float*>(logitsHost_.data()),
                                  static_cast<std::size_t>(n));
  });
}

std::span<const RankedLogits> CudaBackend::ranked(std::int64_t firstRow, std::int64_t rows) {
  return guarded([&] {
    const bool there = stepHead_ == StepHead::ranking;
    if (!there) {
      stepHead_ = StepHead::none;  // other rows' logits go
      enqueueLogits(firstRow, rows);
      enqueueRanking(rows);
    }
    const std::int64_t all = there ? chunk_.T : rows;
    const std::int64_t k = rankedOf(*config_);
    const std::size_t bytes = static_cast<std::size_t>(all) * shownBytes(k);
    if (rankingHost_.bytes() < bytes) rankingHost_ = cuda::PinnedMemory(bytes);
    cuda::copyToHost(rankingHost_.data(), scratch_.ranking.as<std::byte>(), bytes, *stream_);
    stream_->wait();
    const Ranking found(rankingHost_.data(), all, k);
    const auto n = static_cast<std::size_t>(k);
    ranked_.clear();
    for (std::int64_t row = there ? firstRow : 0; std::ssize(ranked_) < rows; ++row) {
      ranked_.push_back({found.stats[row],
                         found.scaled[row],
                         config_->V,
                         {found.tokens + row * k, n},
                         {found.logits + row * k, n},
                         draws_[static_cast<std::size_t>(row)],
                         found.drawn[row]});
    }
    return std::span<const RankedLogits>(ranked_);
  });
}

}  // namespace eyrie::engine
