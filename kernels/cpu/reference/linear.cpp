#include "kernels/linear.h"

#include "kernels/packed_matrix.h"

namespace eyrie::kernels::reference {

void linear(const LinearArgs& args) {
  const MatrixView& w = args.weight;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t row = 0; row < w.rows; ++row) {
      float sum = 0;
      for (std::int64_t col = 0; col < w.cols; ++col) {
        sum += args.x[t * w.cols + col] * matrixElement(w, row, col);
      }
      args.out[t * w.rows + row] = args.bias == nullptr ? sum : sum + args.bias[row];
    }
  }
}

}  // namespace eyrie::kernels::reference
