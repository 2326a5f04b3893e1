// The one door to BLAS. Each call runs on the calling thread alone: the kernels split the work themselves, so
// that the bits depend on the split and not on BLAS's scheduling.
#pragma once

#include <cstdint>

namespace eyrie::kernels::cpu {

// Row-major: C (m, n) = A (m, k) op(B) + beta C, where op(B) is B (k, n), or B (n, k) transposed.
struct GemmArgs {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  const float* a = nullptr;
  std::int64_t lda = 0;
  const float* b = nullptr;
  std::int64_t ldb = 0;
  bool transposeB = false;
  float beta = 0.0F;  // 0: C is not read
  float* c = nullptr;
  std::int64_t ldc = 0;
};

void gemm(const GemmArgs& args);

}  // namespace eyrie::kernels::cpu
