#include "kernels/conv1d.h"

namespace eyrie::kernels::reference {
namespace {

// Input of channel r at time t of this call; negative times lie in the tail.
float inputAt(const Conv1dArgs& args, std::int64_t t, std::int64_t r) {
  return t >= 0 ? args.x[t * args.R + r] : args.tail[(t + args.K - 1) * args.R + r];
}

}  // namespace

void conv1d(const Conv1dArgs& args) {
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t r = 0; r < args.R; ++r) {
      float sum = args.bias[r];
      for (std::int64_t k = 0; k < args.K; ++k) {
        sum += args.weight[k * args.R + r] * inputAt(args, t - (args.K - 1) + k, r);
      }
      args.out[t * args.R + r] = sum;
    }
  }
  // Rising slots read only slots not yet overwritten.
  for (std::int64_t slot = 0; slot < args.K - 1; ++slot) {
    for (std::int64_t r = 0; r < args.R; ++r) {
      args.tail[slot * args.R + r] = inputAt(args, args.T - (args.K - 1) + slot, r);
    }
  }
}

}  // namespace eyrie::kernels::reference
