// A row of logits of which only the largest leave the card, what is known of all of them, and the token drawn
// there.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/sample.h"

namespace eyrie::engine {

struct RankedLogits {
  kernels::LogitStats stats;   // of all V
  kernels::LogitStats scaled;  // of all V / temperature; greedy: / 1
  std::int64_t V = 0;
  std::span<const std::int32_t> tokens;  // of the largest logits: falling, ties by rising token
  std::span<const float> logits;         // theirs
  kernels::DrawRule rule;                // what the card drew with
  kernels::Drawn drawn;                  // and what
};

}  // namespace eyrie::engine
