#include "kernels/linear.h"

namespace eyrie::kernels::reference {

void linear(const LinearArgs& args) {
  const MatrixView& w = args.weight;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t row = 0; row < w.rows; ++row) {
      float sum = 0;
      for (std::int64_t col = 0; col < w.cols; ++col) {
        const auto index = static_cast<std::size_t>(row * w.cols + col);
        sum += args.x[t * w.cols + col] * loadAsFloat(w.data, w.dtype, index);
      }
      args.out[t * w.rows + row] = args.bias == nullptr ? sum : sum + args.bias[row];
    }
  }
}

}  // namespace eyrie::kernels::reference
