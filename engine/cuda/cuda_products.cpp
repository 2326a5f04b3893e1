// Which kernel computes which product: matrix-vector kernels that read the weights once for a few rows, or
// tensor cores for many.
#include <algorithm>

#include "engine/cuda/cuda_backend.h"

namespace eyrie::engine {

namespace cuda = kernels::cuda;
using kernels::DType;

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
  const DType dtype = cuda::operandType(weight.dtype);
  if (dtype == DType::f32 && from.normWeight == nullptr) return from.x;
  void* const out = scratch_.operand.as<void>();
  cuda::operand({from.x, from.normWeight, config_->normEps, rows, weight.cols, dtype, out}, *stream_);
  return out;
}

void CudaBackend::multiplyOperand(const void* x, const Target& target, std::int64_t rows, DType outType) {
  if (kernels::isPacked(target.weight.dtype)) {
    cuda::PackedMatmulArgs args{x, target.weight.packed, target.bias, rows, target.out, target.accumulate};
    args.outType = outType;
    args.workspace = scratch_.workspace.as<void>();
    return cuda::packedMatmul(args, blas_.get(), *stream_);
  }
  cuda::MatmulArgs args{x, target.weight.view, target.bias, rows, target.out, target.accumulate};
  args.outType = outType;
  cuda::matmul(args, blas_.get(), *stream_);
}

void CudaBackend::multiplyGated(const float* gate, float* up, const Target& target, std::int64_t rows) {
  const std::int64_t E = target.weight.cols;
  if (few(target.weight, rows)) {
    cuda::gatedActivation({gate, up, rows * E, config_->activation, up}, *stream_);
    return multiplyFew({up}, {target}, rows);
  }
  cuda::GatedOperandArgs args;
  args.gate = gate;
  args.up = up;
  args.activation = config_->activation;
  args.T = rows;
  args.E = E;
  args.dtype = cuda::operandType(target.weight.dtype);
  args.out = scratch_.operand.as<void>();
  cuda::gatedOperand(args, *stream_);
  multiplyOperand(args.out, target, rows);
}

// Norm, both products and GeGLU in one kernel for a few rows; for many, gate and up are kept in 16 bits where
// that is what the next product reads anyway. (cuBLASLt's own GELU would spare nothing: its product with `up`
// is a pass over both in any case, and beside a bf16 result it takes only a bf16 bias.)
void CudaBackend::multiplyMlp(const CudaLayerWeights& w, const Target& down, std::int64_t rows) {
  Scratch& s = scratch_;
  const Source normed{s.hidden.as<float>(), w.channelNorm};
  const bool alike = w.gate.dtype == w.up.dtype;
  if (alike && few(w.gate, rows)) {
    multiplyGate(w, rows);
    return multiply({s.a.as<float>()}, {down}, rows);
  }
  const bool narrow = alike && !few(down.weight, rows) && cuda::operandType(w.gate.dtype) == DType::bf16 &&
                      cuda::operandType(down.weight.dtype) == DType::bf16;
  if (!narrow) {
    multiply(normed, {{w.gate, w.gateBias, s.a.as<float>()}, {w.up, w.upBias, s.b.as<float>()}}, rows);
    return multiplyGated(s.a.as<float>(), s.b.as<float>(), down, rows);
  }
  const void* const x = operandOf(normed, w.gate, rows);
  multiplyOperand(x, {w.gate, nullptr, s.a.as<float>()}, rows, DType::bf16);
  multiplyOperand(x, {w.up, nullptr, s.b.as<float>()}, rows, DType::bf16);
  cuda::GatedOperandArgs args;
  args.gate = s.a.as<void>();
  args.up = s.b.as<void>();
  args.gateBias = w.gateBias;
  args.upBias = w.upBias;
  args.activation = config_->activation;
  args.T = rows;
  args.E = w.gate.rows;
  args.inputType = DType::bf16;
  args.dtype = DType::bf16;
  args.out = s.a.as<void>();
  cuda::gatedOperand(args, *stream_);
  multiplyOperand(args.out, down, rows);
}

void CudaBackend::multiplyGate(const CudaLayerWeights& w, std::int64_t rows) {
  float* const out = scratch_.a.as<float>();
  const float* const x = scratch_.hidden.as<float>();
  if (kernels::isPacked(w.gate.dtype)) {
    return cuda::packedGatedProjection({x, w.channelNorm, config_->normEps, rows, w.gate.packed, w.up.packed,
                                        w.gateBias, w.upBias, config_->activation, out},
                                       *stream_);
  }
  cuda::gatedProjection({x, w.channelNorm, config_->normEps, rows, w.gate.view, w.up.view, w.gateBias,
                         w.upBias, config_->activation, out},
                        *stream_);
}

}  // namespace eyrie::engine
