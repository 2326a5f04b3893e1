// kernels/cuda/blas.h by the BLAS of the CPU: products of 16-bit values are exact in f32.
#include "tests/cuda_emulator/blas.h"

#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cuda/blas.h"
#include "tests/cuda_emulator/streams.h"

namespace eyrie::emulator {
namespace {

bool opens = true;
bool knowsAlgorithms = true;
std::uint64_t products = 0;

}  // namespace

void letBlasOpen(bool willOpen) {
  opens = willOpen;
}

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

void put(const Product& p, std::int64_t at, float value) {
  if (p.outType == DType::bf16) {
    static_cast<std::uint16_t*>(p.out)[at] = floatToBf16(value);
  } else {
    float& out = static_cast<float*>(p.out)[at];
    out = p.accumulate ? out + value : value;
  }
}

void compute(const Product& p) {
  const std::vector<float> weight = widened(p.weight, p.dtype, p.blocks * p.rows * p.cols);
  const std::vector<float> x = widened(p.x, p.dtype, (p.T - 1) * p.xStride + p.blocks * p.cols);
  std::vector<float> sums(static_cast<std::size_t>(p.T * p.rows));
  for (std::int64_t g = 0; g < p.blocks; ++g) {
    cpu::gemm({p.T, p.rows, p.cols, x.data() + g * p.cols, p.xStride, weight.data() + g * p.rows * p.cols,
               p.byColumns ? p.rows : p.cols, !p.byColumns, 0.0F, sums.data(), p.rows});
    for (std::int64_t at = 0; at < p.T * p.rows; ++at) {
      const std::int64_t column = g * p.rows + at % p.rows;
      const float bias = p.bias == nullptr ? 0.0F : p.bias[column];
      put(p, at / p.rows * p.outStride + column, sums[static_cast<std::size_t>(at)] + bias);
    }
  }
}

}  // namespace

struct Blas::Parts {};

Blas::Blas(void* workspace) {
  if (!emulator::opens) throw CudaError("cuBLAS cannot be opened: not by the emulator", 1);
  if (workspace == nullptr) throw CudaError("cuBLAS has no workspace", 1);
}

Blas::~Blas() = default;

bool Blas::product(const Product& p, Stream stream) {
  if (p.T == 0 || p.rows == 0) return true;
  if (!emulator::knowsAlgorithms) return false;
  ++emulator::products;
  emulator::enqueue(stream, [p] { compute(p); });
  return true;
}

}  // namespace eyrie::kernels::cuda
