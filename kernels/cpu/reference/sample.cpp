#include "kernels/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace eyrie::kernels::reference {

void topK(const TopKArgs& args) {
  const auto valueOf = [&](std::int32_t index) {
    const float value = args.logits[index];
    return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
  };
  std::vector<std::int32_t> order(static_cast<std::size_t>(args.V));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return valueOf(a) > valueOf(b); });
  for (std::int64_t i = 0; i < args.k; ++i) {
    args.indices[i] = order[static_cast<std::size_t>(i)];
    args.values[i] = valueOf(args.indices[i]);
  }
}

}  // namespace eyrie::kernels::reference
