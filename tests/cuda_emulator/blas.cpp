// kernels/cuda/blas.h by the BLAS of the CPU: products of 16-bit values are exact in f32.
#include "tests/cuda_emulator/blas.h"

#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cuda/blas.h"
#include "tests/cuda_emulator/streams.h"

namespace eyrie::emulator {
namespace {

bool knowsAlgorithms = true;
std::uint64_t products = 0;

}  // namespace

void letBlasKnow(bool algorithms) {
  knowsAlgorithms = algorithms;
}

std::uint64_t blasProducts() {
  return products;
}

}  // namespace eyrie::emulator

namespace eyrie::kernels::cuda {
namespace {

std::vector<float> widened(const void* data, DType dtype, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  widen(data, dtype, values.size(), values.data());
  return values;
}

}  // namespace

struct Blas::Parts {};

Blas::Blas(void* workspace) {
  if (workspace == nullptr) throw CudaError("cuBLAS has no workspace", 1);
}

Blas::~Blas() = default;

namespace {

void compute(const Product& p) {
  const std::vector<float> weight = widened(p.weight, p.dtype, p.blocks * p.rows * p.cols);
  const std::vector<float> x = widened(p.x, p.dtype, (p.T - 1) * p.xStride + p.blocks * p.cols);
  for (std::int64_t g = 0; g < p.blocks; ++g) {
    float* const out = p.out + g * p.rows;
    cpu::gemm({p.T, p.rows, p.cols, x.data() + g * p.cols, p.xStride, weight.data() + g * p.rows * p.cols,
               p.byColumns ? p.rows : p.cols, !p.byColumns, p.accumulate ? 1.0F : 0.0F, out, p.outStride});
    if (p.bias == nullptr) continue;
    for (std::int64_t t = 0; t < p.T; ++t)
      for (std::int64_t n = 0; n < p.rows; ++n) out[t * p.outStride + n] += p.bias[g * p.rows + n];
  }
}

}  // namespace

bool Blas::product(const Product& p, Stream stream) {
  if (p.T == 0 || p.rows == 0) return true;
  if (!emulator::knowsAlgorithms) return false;
  ++emulator::products;
  emulator::enqueue(stream, [p] { compute(p); });
  return true;
}

}  // namespace eyrie::kernels::cuda
