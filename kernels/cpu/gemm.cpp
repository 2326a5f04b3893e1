#include "kernels/cpu/gemm.h"

#include <cblas.h>

namespace eyrie::kernels::cpu {

void gemm(const GemmArgs& args) {
  static const bool kSingleThreaded = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(kSingleThreaded);
  if (args.m == 0 || args.n == 0) return;
  const auto size = [](std::int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, args.transposeB ? CblasTrans : CblasNoTrans, size(args.m),
              size(args.n), size(args.k), 1.0F, args.a, size(args.lda), args.b, size(args.ldb), args.beta,
              args.c, size(args.ldc));
}

}  // namespace eyrie::kernels::cpu
