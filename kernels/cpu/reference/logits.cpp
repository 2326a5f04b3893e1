#include "kernels/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace eyrie::kernels::reference {

void softCap(const SoftCapArgs& args) {
  if (!(args.cap > 0.0F)) return;
  for (std::int64_t i = 0; i < args.n; ++i) args.logits[i] = args.cap * std::tanh(args.logits[i] / args.cap);
}

LogitStats logitStats(const float* logits, std::int64_t V) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t v = 0; v < V; ++v) largest = std::max(largest, logits[v]);
  if (std::isinf(largest)) return {largest, largest, 0.0F};
  float sum = 0;
  float weighted = 0;  // sum of e^z z with z = logit - max; a logit of -infinity adds nothing
  for (std::int64_t v = 0; v < V; ++v) {
    const float z = logits[v] - largest;
    const float e = std::exp(z);
    sum += e;
    if (e > 0.0F) weighted += e * z;
  }
  const float logSum = std::log(sum);
  return {largest, largest + logSum, logSum - weighted / sum};
}

}  // namespace eyrie::kernels::reference
