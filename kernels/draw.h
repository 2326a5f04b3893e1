// The arithmetic of a draw, for host and card. It is done in whole numbers, so that every compiler gets the
// same of it, and sums the same in any order: from the same logits both draw the same token.
//
// The weight of a token is e^((logit - largest) / temperature) in units of 2^-40, the largest's being 2^40;
// less than one unit is nothing. It never rises where a logit falls. Up to two million of them can be added.
#pragma once

#include <cstdint>

#include "kernels/sample.h"

#ifdef __CUDACC__
#define EYRIE_HOST_AND_CARD __host__ __device__
#else
#define EYRIE_HOST_AND_CARD
#endif

namespace eyrie::kernels {

inline constexpr std::uint64_t kLargestWeight = std::uint64_t{1} << 40;

inline constexpr std::int64_t kTwosInE = 1549082005;  // log2 e in units of 2^-30
// 2^x - 1 of x in [0, 1): factors of x, x^2 and so on in units of 2^-32. Off by 7e-9 of 2^x at most. They are
// positive and add up to 1, so that it rises throughout and from one power to the next.
inline constexpr std::uint64_t kPower1 = 2977044298, kPower2 = 1031773853, kPower3 = 238310748,
                               kPower4 = 41567615, kPower5 = 5330647, kPower6 = 940135;
inline constexpr float kLeastExponent = -28.0F;  // and whatever is below weighs nothing

// e^x in those units, of x up to 15; off by 2e-8 of it and one unit at most. NaN counts as -infinity.
EYRIE_HOST_AND_CARD inline std::uint64_t expWeight(float x) {
  constexpr float kMost = 15.0F;
  const float within = x > kLeastExponent ? (x < kMost ? x : kMost) : kLeastExponent;
  const std::int64_t power = static_cast<std::int32_t>(within * 0x1p26F) * kTwosInE;
  // The whole part, which may be negative, stands 64 higher in the first 8 bits.
  const auto biased = static_cast<std::uint64_t>(power + (std::int64_t{64} << 56));
  const std::uint64_t rest = biased >> 24 & 0xffffffffU;
  std::uint64_t sum = (kPower6 * rest >> 32) + kPower5;
  sum = (sum * rest >> 32) + kPower4;
  sum = (sum * rest >> 32) + kPower3;
  sum = (sum * rest >> 32) + kPower2;
  sum = (sum * rest >> 32) + kPower1;
  sum = (sum * rest >> 32) + (std::uint64_t{1} << 32);
  return sum << 30 >> (86 - (biased >> 56));
}

// Nothing in it that a compiler may fuse.
EYRIE_HOST_AND_CARD inline std::uint64_t weightOf(float logit, float largest, float temperature) {
  return logit == largest ? kLargestWeight : expWeight((logit - largest) / temperature);
}

// Of all tokens.
EYRIE_HOST_AND_CARD inline std::uint64_t massOf(const LogitStats& scaled) {
  return expWeight(scaled.logSumExp - scaled.max);
}

// False for infinities and NaN.
EYRIE_HOST_AND_CARD inline bool isNumber(float x) {
  return x - x == 0.0F;
}

// How many tokens top-k leaves; greedy is a top-k of 1.
EYRIE_HOST_AND_CARD inline std::int64_t mostKept(const DrawRule& rule, std::int64_t V) {
  if (rule.temperature == 0.0F) return 1;
  return rule.topK > 0 && rule.topK < V ? rule.topK : V;
}

// Top-p and min-p, as weights.
struct DrawFilter {
  std::uint64_t wanted;  // what is kept weighs less without its last token
  std::uint64_t least;   // each but the first

  // `before`: what all larger logits weigh together. Of falling weights those kept come first.
  EYRIE_HOST_AND_CARD bool keeps(std::uint64_t before, std::uint64_t weight) const {
    return before == 0 || (before < wanted && weight >= least);
  }
};

// mass: of all that top-p counts.
EYRIE_HOST_AND_CARD inline DrawFilter filterOf(const DrawRule& rule, std::uint64_t mass) {
  const double wanted = static_cast<double>(rule.topP) * static_cast<double>(mass);
  const auto least = static_cast<std::uint64_t>(static_cast<double>(rule.minP) * 0x1p40);
  return {rule.topP < 1.0F ? static_cast<std::uint64_t>(wanted) : ~std::uint64_t{0}, least > 0 ? least : 1};
}

// Where the draw falls among what is kept: the first token that with all before it weighs more is drawn, or
// the last.
EYRIE_HOST_AND_CARD inline std::uint64_t pointOf(const DrawRule& rule, std::uint64_t total) {
  return static_cast<std::uint64_t>(rule.uniform * static_cast<double>(total));
}

// ---- one token after the other: on the host ----

struct Kept {
  std::uint64_t total = 0;
  std::int64_t count = 0;
};

// Of the first `most` tokens, whose weights fall.
template <class WeightAt>
Kept keptOf(const DrawFilter& filter, std::int64_t most, const WeightAt& weightAt) {
  Kept kept;
  for (; kept.count < most; ++kept.count) {
    const std::uint64_t weight = weightAt(kept.count);
    if (!filter.keeps(kept.total, weight)) break;
    kept.total += weight;
  }
  return kept;
}

template <class WeightAt>
std::int64_t drawnPlace(const DrawRule& rule, const Kept& kept, const WeightAt& weightAt) {
  const std::uint64_t point = pointOf(rule, kept.total);
  std::int64_t place = 0;
  for (std::uint64_t reached = weightAt(0); reached <= point && place + 1 < kept.count;)
    reached += weightAt(++place);
  return place;
}

}  // namespace eyrie::kernels
