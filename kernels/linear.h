// Linear layer: out = x W^T + b, W (out, in) in its stored dtype, f32 accumulation.
// And the block-diagonal form of the RG-LRU gates. REFERENCE §1.2 (a, b, e, i); traps 2, 13.
#pragma once

#include <cstdint>

#include "kernels/tensor_view.h"

namespace eyrie::kernels {

class ThreadPool;

struct LinearArgs {
  const float* x = nullptr;     // (T, cols)
  MatrixView weight;            // (rows, cols), of any type
  const float* bias = nullptr;  // (rows) or null
  std::int64_t T = 0;           // >= 0; 1 is a matrix-vector product, more a matrix product
  float* out = nullptr;         // (T, rows); must not overlap x
  bool alone = false;           // each row gets the bits it has where T = 1
};

// G blocks of (B, N), N = weight.cols: out[t, g*N + j] = sum_k x[t, g*B + k] * W[g][k][j] + bias[g*N + j].
// Contraction is over the FIRST matrix index, unlike LinearArgs. N is B but for the complex RG-LRU's gates.
struct BlockLinearArgs {
  const float* x = nullptr;     // (T, G*B)
  MatrixView weight;            // rows = G*B, cols = N: G blocks [in][out], one after the other; not packed
  const float* bias = nullptr;  // (G*N)
  std::int64_t T = 0;
  std::int64_t G = 0;
  std::int64_t B = 0;
  float* out = nullptr;  // (T, G*N); must not overlap x
  bool alone = false;    // as in LinearArgs
};

namespace reference {
void linear(const LinearArgs& args);
void blockLinear(const BlockLinearArgs& args);
}  // namespace reference
namespace cpu {
// Many tokens go through a product in blocks (cpu/linear_blocks.h), fewer through dot products that stream
// each weight once (cpu/linear_dots.h): a row of x has the bits of either, whatever the others and the pool's
// size are, with `alone` always the latter's. Packed weights (packed_matrix.h) likewise: many tokens are
// rounded to bytes (cpu/packed_blocks.h), fewer to 16-bit integers (cpu/packed_linear.h).
void linear(const LinearArgs& args, ThreadPool& pool);
// Many tokens go through BLAS: same T and same pool size give the same bits; with `alone` whatever they are.
void blockLinear(const BlockLinearArgs& args, ThreadPool& pool);
}  // namespace cpu

}  // namespace eyrie::kernels
