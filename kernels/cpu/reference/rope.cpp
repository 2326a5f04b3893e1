#include "kernels/rope.h"

#include <cmath>

namespace eyrie::kernels::reference {

void rope(const RopeArgs& args) {
  const std::int64_t half = args.rotary / 2;
  for (std::int64_t t = 0; t < args.T; ++t) {
    const auto position = static_cast<double>(args.firstPosition + t);
    for (std::int64_t j = 0; j < half; ++j) {
      // Double: an f32 angle at position 100000 is already wrong in the third digit.
      const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(args.rotary);
      const double angle = position * std::pow(args.theta, exponent);
      const auto cosine = static_cast<float>(std::cos(angle));
      const auto sine = static_cast<float>(std::sin(angle));
      for (std::int64_t head = 0; head < args.heads; ++head) {
        float* x = args.x + (t * args.heads + head) * args.Dh;
        const float first = x[j];
        const float second = x[j + half];
        x[j] = first * cosine - second * sine;
        x[j + half] = second * cosine + first * sine;
      }
    }
  }
}

}  // namespace eyrie::kernels::reference
