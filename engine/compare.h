// How two models differ on the same tokens. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/events.h"

namespace eyrie::engine {

// One token under two models, given everything before it.
struct TokenDifference {
  std::int64_t position = 0;
  std::int32_t token = 0;
  float logprobA = 0;  // natural log
  float logprobB = 0;
  std::int32_t rankA = 0;  // 0 = most likely, ties by token number
  std::int32_t rankB = 0;
  float klAB = 0;  // KL(A || B) of the predictions for this place, nats
  float klBA = 0;
};

// `tokens` is the list that was scored, from position 0: tokens[a.first + i] is the token of row i. Throws
// Error(badArgument) when the two results do not cover the same positions and vocabulary, or tokens are
// missing.
std::vector<TokenDifference> compareScores(const ScoreResult& a, const ScoreResult& b,
                                           std::span<const std::int32_t> tokens);

// KL(A || B) in nats of two predictions, each given by its logits (V). In double, so that what is left of two
// nearly equal ones is theirs.
double divergenceOf(std::span<const float> logitsA, std::span<const float> logitsB);

}  // namespace eyrie::engine
