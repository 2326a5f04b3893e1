// A row of logits of which only the largest leave the card, and what is known of all of them.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/logits.h"

namespace eyrie::engine {

struct RankedLogits {
  kernels::LogitStats stats;  // of all V
  double mass = 0;            // of all V: sum of e^((logit - largest) / temperature)
  std::int64_t V = 0;
  std::span<const std::int32_t> tokens;  // of the largest logits: falling, ties by rising token
  std::span<const float> logits;         // theirs
};

}  // namespace eyrie::engine
