// Reads off one row of logits what a TokenRecord says of it.
#pragma once

#include <cstdint>
#include <span>

#include "engine/ranked_logits.h"
#include "engine/taps.h"
#include "kernels/thread_pool.h"

namespace eyrie::engine {

// A record that says nothing yet: NaN, rank -1, no alternatives.
TokenRecord emptyRecord(std::int64_t position, std::int32_t token);

// Entropy, alternatives and, for a known token, log-probability and rank. `logits` (V) after the soft cap, at
// temperature 1; ties rank by token number. One thread at a time.
class PredictionReader {
 public:
  void describe(std::span<const float> logits, TokenRecord& record);
  // The same of a card's; a known token must be one of them.
  static void describe(const RankedLogits& ranked, TokenRecord& record);

 private:
  // One row is too little work to share.
  kernels::ThreadPool pool_{1};
};

}  // namespace eyrie::engine
