#include "kernels/linear.h"

namespace eyrie::kernels::reference {

void blockLinear(const BlockLinearArgs& args) {
  const std::int64_t B = args.B;
  const std::int64_t N = args.weight.cols;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t g = 0; g < args.G; ++g) {
      for (std::int64_t j = 0; j < N; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < B; ++k) {
          const auto index = static_cast<std::size_t>((g * B + k) * N + j);
          sum += args.x[(t * args.G + g) * B + k] * loadAsFloat(args.weight.data, args.weight.dtype, index);
        }
        args.out[(t * args.G + g) * N + j] = args.bias == nullptr ? sum : sum + args.bias[g * N + j];
      }
    }
  }
}

}  // namespace eyrie::kernels::reference
