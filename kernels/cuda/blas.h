// Matrix products by cuBLAS: its Lt library, opened when the first Blas is made, so that a program starts
// where it is not installed. The tests' emulator has a Blas of its own (tests/cuda_emulator/blas.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/cuda/stream.h"
#include "kernels/tensor_view.h"

namespace eyrie::kernels::cuda {

// out = x W^T (+ bias) (+ out) for each of `blocks` blocks side by side: block g reads columns g * cols.. of
// x, the g-th of `blocks` matrices one after the other, and rows g * rows.. of bias, and writes columns
// g * rows.. of out. Sums are f32 whatever the type; f32 is never rounded to TF32.
struct Product {
  DType dtype = DType::f32;      // of x and weight: f32, f16 or bf16
  const void* x = nullptr;       // (T, blocks * cols), rows xStride elements apart
  const void* weight = nullptr;  // (blocks, rows, cols), or (blocks, cols, rows) where byColumns
  const float* bias = nullptr;   // (blocks * rows) or null
  void* out = nullptr;           // (T, blocks * rows), rows outStride apart; must not overlap x
  DType outType = DType::f32;    // or bf16, where dtype is bf16: rounded once, with nothing added to it
  std::int64_t T = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t xStride = 0;
  std::int64_t outStride = 0;
  std::int64_t blocks = 1;
  bool byColumns = false;   // the contraction is over the weights' first index, as in BlockLinearArgs
  bool accumulate = false;  // out += rather than out =; f32 only
};

// Used by one thread at a time, and by products of one stream at a time, which share its workspace.
class Blas {
 public:
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what Hopper's algorithms ask for

  // `workspace`: device memory, 256-byte aligned, that outlives this. Throws CudaError that names library and
  // function where cuBLAS is absent or fails.
  explicit Blas(void* workspace);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // Allocates no device memory and never waits, so a graph can capture it; but cuBLAS loads its kernels at
  // their first use, so a product of this shape should have run once before. False, and nothing done, where
  // cuBLAS has no algorithm for it (bf16 on cards older than sm_80). Throws CudaError.
  bool product(const Product& product, Stream stream);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace eyrie::kernels::cuda
