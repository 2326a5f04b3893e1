// Which kernel computes which product: matrix-vector kernels that read the weights once for a few rows, or
// tensor cores for many.
#include <algorithm>

#include "engine/cuda/cuda_backend.h"

namespace eyrie::engine {

namespace cuda = kernels::cuda;

bool CudaBackend::few(const CudaMatrix& weight, std::int64_t rows) const {
  return rows < crossover_.rows(weight.dtype);
}

void CudaBackend::multiply(const Source& from, std::initializer_list<Target> targets, std::int64_t rows) {
  const CudaMatrix& first = targets.begin()->weight;
  const bool alike = std::all_of(targets.begin(), targets.end(),
                                 [&](const Target& target) { return target.weight.dtype == first.dtype; });
  if (!alike) {
    for (const Target& target : targets) multiply(from, {target}, rows);
    return;
  }
  if (few(first, rows)) return multiplyFew(from, targets, rows);
  const void* x = operandOf(from, first, rows);
  for (const Target& target : targets) multiplyOperand(x, target, rows);
}

void CudaBackend::multiplyFew(const Source& from, std::initializer_list<Target> targets, std::int64_t rows) {
  const bool accumulate = targets.begin()->accumulate;
  std::size_t i = 0;
  if (kernels::isPacked(targets.begin()->weight.dtype)) {
    cuda::PackedProjectionArgs args{from.x, from.normWeight, config_->normEps, rows, {}, accumulate};
    for (const Target& target : targets) args.outputs[i++] = {target.weight.packed, target.bias, target.out};
    return cuda::packedProjections(args, *stream_);
  }
  cuda::ProjectionArgs args{from.x, from.normWeight, config_->normEps, rows, {}, accumulate};
  for (const Target& target : targets) args.outputs[i++] = {target.weight.view, target.bias, target.out};
  cuda::projections(args, *stream_);
}

const void* CudaBackend::operandOf(const Source& from, const CudaMatrix& weight, std::int64_t rows) {
  const kernels::DType dtype = cuda::operandType(weight.dtype);
  if (dtype == kernels::DType::f32 && from.normWeight == nullptr) return from.x;
  void* const out = scratch_.operand.as<void>();
  cuda::operand({from.x, from.normWeight, config_->normEps, rows, weight.cols, dtype, out}, *stream_);
  return out;
}

void CudaBackend::multiplyOperand(const void* x, const Target& target, std::int64_t rows) {
  if (kernels::isPacked(target.weight.dtype)) {
    cuda::packedMatmul({x, target.weight.packed, target.bias, rows, target.out, target.accumulate,
                        scratch_.workspace.as<void>()},
                       blas_.get(), *stream_);
  } else {
    cuda::matmul({x, target.weight.view, target.bias, rows, target.out, target.accumulate}, blas_.get(),
                 *stream_);
  }
}

void CudaBackend::multiplyGated(const float* gate, float* up, const Target& target, std::int64_t rows) {
  const std::int64_t E = target.weight.cols;
  if (few(target.weight, rows)) {
    cuda::gatedActivation({gate, up, rows * E, config_->activation, up}, *stream_);
    return multiplyFew({up}, {target}, rows);
  }
  void* const out = scratch_.operand.as<void>();
  cuda::gatedOperand(
      {gate, up, nullptr, nullptr, config_->activation, rows, E, cuda::operandType(target.weight.dtype), out},
      *stream_);
  multiplyOperand(out, target, rows);
}

}  // namespace eyrie::engine
