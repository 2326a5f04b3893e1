// From hidden rows to predictions: all logits, or the largest of one row, ranked on the card.
#include <algorithm>
#include <cmath>

#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/guarded.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

// As many as a sampler shows; nearly every draw is made among them.
constexpr std::int64_t kRanked = 256;

// What comes back from the card, and behind it the workspaces.
struct Ranking {
  kernels::LogitStats stats;   // of the logits
  kernels::LogitStats scaled;  // of the logits / temperature
  std::int32_t tokens[kRanked];
  float logits[kRanked];
};
static_assert(sizeof(Ranking) % alignof(std::uint64_t) == 0);

std::int64_t rankedOf(const ModelConfig& config) {
  return std::min(kRanked, config.V);
}

}  // namespace

std::size_t CudaBackend::rankingBytes() const {
  const std::int64_t V = config_->V;
  return sizeof(Ranking) +
         static_cast<std::size_t>(cuda::topKWorkspace(V, rankedOf(*config_))) * sizeof(std::uint64_t) +
         floatBytes(cuda::logitStatsWorkspace(V));
}

void CudaBackend::enqueueLogits(std::int64_t firstRow, std::int64_t rows) {
  float* const logits = scratch_.logits.as<float>();
  multiply({row(scratch_.hidden, firstRow, config_->D), weights_.finalNorm()},
           {{weights_.head(), nullptr, logits}}, rows);
  cuda::softCap({logits, rows * config_->V, config_->logitsSoftCap}, *stream_);
}

// Of the first row of the logits.
void CudaBackend::enqueueRanking() {
  const std::int64_t V = config_->V;
  const std::int64_t k = rankedOf(*config_);
  const float* const logits = scratch_.logits.as<float>();
  auto* const onCard = scratch_.ranking.as<Ranking>();
  auto* const candidates = reinterpret_cast<std::uint64_t*>(onCard + 1);
  auto* const sums = reinterpret_cast<float*>(candidates + cuda::topKWorkspace(V, k));
  cuda::topK({logits, V, k, onCard->tokens, onCard->logits}, candidates, *stream_);
  cuda::logitStats(logits, V, sums, &onCard->stats, *stream_);
  cuda::logitStats(logits, V, sums, &onCard->scaled, *stream_, inputs_.inverseTemperature);
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

std::optional<RankedLogits> CudaBackend::ranked(std::int64_t row) {
  return guarded([&] {
    if (stepHead_ != StepHead::ranking) {
      stepHead_ = StepHead::none;  // other rows' logits go
      enqueueLogits(row, 1);
      enqueueRanking();
    }
    if (rankingHost_.bytes() == 0) rankingHost_ = cuda::PinnedMemory(sizeof(Ranking));
    cuda::copyToHost(rankingHost_.data(), scratch_.ranking.as<Ranking>(), sizeof(Ranking), *stream_);
    stream_->wait();
    const auto& found = *reinterpret_cast<const Ranking*>(rankingHost_.data());
    const auto n = static_cast<std::size_t>(rankedOf(*config_));
    const double mass = std::exp(double{found.scaled.logSumExp} - double{found.scaled.max});
    return std::optional(RankedLogits{found.stats, mass, config_->V, {found.tokens, n}, {found.logits, n}});
  });
}

}  // namespace eyrie::engine
