// Sampling: selection of the k largest logits, and the draw of a token among them.
#pragma once

#include <cstdint>

#include "kernels/logits.h"

namespace eyrie::kernels {

class ThreadPool;

struct TopKArgs {
  const float* logits = nullptr;  // (V)
  std::int64_t V = 0;
  std::int64_t k = 0;  // 1 <= k <= V
  std::int32_t* indices =
      nullptr;              // (k) out: by falling logit, ties by rising index; NaN counts as -infinity
  float* values = nullptr;  // (k) out
};

// How a token is drawn. Filters apply in this order; as it stands here, none does.
struct DrawRule {
  float temperature = 1.0F;  // 0: the largest logit, whatever else is asked
  std::int32_t topK = 0;     // 0: off
  float topP = 1.0F;         // 1: off
  float minP = 0.0F;         // at least so much of the likeliest token's probability; 0: off
  double uniform = 0;        // the random number, [0, 1)

  bool operator==(const DrawRule&) const = default;
};

struct Drawn {
  std::uint64_t total = 0;  // weight (draw.h) of all that passed the filters
  std::int32_t token = -1;  // -1: the logits given do not decide it
  std::int32_t kept = 0;    // so many passed: the first ones

  bool operator==(const Drawn&) const = default;
};

// Of rows of which only the largest logits are given, as topK has them. They do not decide a draw where the
// filters would let others pass, or where a statistic that they need is no number.
struct DrawArgs {
  const float* logits = nullptr;         // (rows, known)
  const std::int32_t* tokens = nullptr;  // (rows, known)
  const LogitStats* stats = nullptr;     // (rows): of all logits
  const LogitStats* scaled = nullptr;    // (rows): of all logits / temperature; greedy: / 1
  const DrawRule* rules = nullptr;       // (rows)
  std::int64_t rows = 0;
  std::int64_t V = 0;
  std::int64_t known = 0;  // 1 <= known <= V
  Drawn* drawn = nullptr;  // (rows) out
};

namespace reference {
void topK(const TopKArgs& args);
void draw(const DrawArgs& args);
// What all V logits weigh (draw.h).
std::uint64_t weightOfAll(const float* logits, std::int64_t V, float largest, float temperature);
}  // namespace reference
namespace cpu {
void topK(const TopKArgs& args, ThreadPool& pool);
std::uint64_t weightOfAll(const float* logits, std::int64_t V, float largest, float temperature);
}  // namespace cpu

}  // namespace eyrie::kernels
