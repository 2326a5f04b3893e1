// Draws the next token. Order: repetition penalty, temperature, top-k, top-p, min-p. Temperature 0 is greedy.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/ranked_logits.h"
#include "kernels/draw.h"

namespace eyrie::engine {

struct SamplingOptions {
  float temperature = 0.8F;  // >= 0; 0 = greedy
  int topK = 0;              // 0 = off
  float topP = 0.95F;        // (0, 1]; 1 = off
  float minP = 0.0F;         // [0, 1): keep tokens with p >= minP * p_max; 0 = off
  float repetitionPenalty =
      1.0F;  // >= 1 as Hugging Face: logits of seen tokens divided (or multiplied if < 0)
  std::uint64_t seed = 0;
};

// Throws Error(badArgument) naming the option and its range.
void checkSampling(const SamplingOptions& options);

struct Candidate {
  std::int32_t token = 0;
  float probability = 0;  // after all filters, sums to 1
};

// Deterministic: same options, same logits, same draws. Holds only its random state.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  // `logits` (V) after soft cap; `history` the tokens the repetition penalty sees.
  std::int32_t draw(std::span<const float> logits, std::span<const std::int32_t> history);
  // What the next draw will be made with; uses nothing up. For those who draw elsewhere.
  kernels::DrawRule next() const;
  // The same draw from the largest logits alone: the card's, where it was made with next(). Nothing, and no
  // random number used, where they do not decide it: the penalty needs all of them, and so may top-p.
  std::optional<std::int32_t> draw(const RankedLogits& ranked);
  // The distribution the last draw was made from, most likely first (at most 256 entries).
  const std::vector<Candidate>& lastCandidates() const { return candidates_; }
  const SamplingOptions& options() const { return options_; }
  std::array<std::uint64_t, 4> randomState() const { return random_; }
  void setRandomState(const std::array<std::uint64_t, 4>& state) { random_ = state; }

 private:
  // Takes the random number of a draw that is made, and keeps what it was made from.
  template <typename WeightAt, typename TokenAt>
  void use(const kernels::Kept& kept, const WeightAt& weightAt, const TokenAt& tokenAt);

  SamplingOptions options_;
  std::array<std::uint64_t, 4> random_{};
  std::vector<Candidate> candidates_;
};

}  // namespace eyrie::engine
