#include "kernels/rg_lru.h"

#include <algorithm>
#include <cmath>

namespace eyrie::kernels {

float decayRateOf(float recurrentParam) {
  return 8.0F * (std::max(recurrentParam, 0.0F) + std::log1p(std::exp(-std::abs(recurrentParam))));
}

}  // namespace eyrie::kernels
