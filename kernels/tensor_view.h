// Non-owning views of stored tensors. The memory (usually a mapped checkpoint file) outlives the view.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace eyrie::kernels {

// Row-major matrix in its stored dtype, or a packed one (packed_matrix.h). A linear layer's weight is (rows =
// outputs, cols = inputs).
struct MatrixView {
  const void* data = nullptr;  // (rows, cols) of `dtype`; aligned to the element size only, packed to 2
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

}  // namespace eyrie::kernels
