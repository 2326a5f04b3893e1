#include "kernels/embed.h"

#include <cmath>

#include "kernels/dtype.h"

namespace eyrie::kernels {

float embeddingScale(std::int64_t width) {
  return bf16ToFloat(floatToBf16(std::sqrt(static_cast<float>(width))));
}

}  // namespace eyrie::kernels
