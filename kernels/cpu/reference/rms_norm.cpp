#include "kernels/rms_norm.h"

#include <cmath>

namespace eyrie::kernels::reference {

void rmsNorm(const RmsNormArgs& args) {
  for (std::int64_t t = 0; t < args.T; ++t) {
    const float* x = args.x + t * args.D;
    float* out = args.out + t * args.D;
    float sum = 0;
    for (std::int64_t d = 0; d < args.D; ++d) sum += x[d] * x[d];
    const float scale = 1.0F / std::sqrt(sum / static_cast<float>(args.D) + args.eps);
    for (std::int64_t d = 0; d < args.D; ++d) out[d] = x[d] * scale * (1.0F + args.weight[d]);
  }
}

}  // namespace eyrie::kernels::reference
