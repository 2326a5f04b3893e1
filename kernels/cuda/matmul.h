// Matrix products of many rows of x, on tensor cores where the weights' type allows: what prefill and large
// batches use in place of linear.cu and packed_linear.cu, which read the weights once for every few rows.
//
// A product reads x as an operand: f32 for f32 weights, otherwise rounded to 16 bits, once for all matrices
// that read it; the kernels that make operands do what comes before a product (norm, activation) in the same
// pass. Products of operands and weights and their sums are f32 (a tensor core's sums may lose a bit more
// than those of f32 adders); results are f32, or bf16 where the caller says so.
//   weights      operand    weights are read as
//   f32          f32        they are: f32 arithmetic, no TF32
//   f16          f16        they are; operands beyond +-65504 become +-65504, not infinity
//   bf16         bf16       they are
//   int8, int4   bf16       code * scale rounded to bf16, slice by slice, in a workspace
// Rounding to bf16 costs up to 2^-8 a factor: results are off by some 0.2 % of their size, as those
// of any engine that computes in bf16. So the same x has other bits here than in linear.cu.
//
// Each op takes a Blas, or null where there is none: then, and where cuBLAS has no algorithm, kernels of our
// own compute the product.
#pragma once

#include "kernels/cuda/blas.h"
#include "kernels/cuda/packed_rows.h"
#include "kernels/gated_mlp.h"

namespace eyrie::kernels::cuda {

constexpr DType operandType(DType weight) {
  return isPacked(weight) ? DType::bf16 : weight;
}

// x, RMS-normed first where there is a norm weight (rms_norm.h), as an operand.
struct OperandArgs {
  const float* x = nullptr;           // (T, D)
  const float* normWeight = nullptr;  // (D) or null
  float eps = 1e-6F;
  std::int64_t T = 0;
  std::int64_t D = 0;
  DType dtype = DType::f32;  // of out: f32, f16 or bf16
  void* out = nullptr;       // (T, D); may be x where f32
};
void operand(const OperandArgs& args, Stream stream);

// activation(gate + gateBias) * (up + upBias) as an operand: the MLP between its products, and the recurrent
// block's output gate.
struct GatedOperandArgs {
  const void* gate = nullptr;       // (T, E) of inputType
  const void* up = nullptr;         // (T, E) of inputType
  const float* gateBias = nullptr;  // (E) or null
  const float* upBias = nullptr;    // (E) or null
  Activation activation = Activation::geluTanh;
  std::int64_t T = 0;
  std::int64_t E = 0;
  DType inputType = DType::f32;  // or bf16, where dtype is bf16
  DType dtype = DType::f32;
  void* out = nullptr;  // (T, E); may be gate or up where all are of one type
};
void gatedOperand(const GatedOperandArgs& args, Stream stream);

// out = x W^T (+ bias) (+ out).
struct MatmulArgs {
  const void* x = nullptr;      // (T, cols) of the weight's type
  MatrixView weight;            // (rows, cols): f32, f16 or bf16
  const float* bias = nullptr;  // (rows) or null
  std::int64_t T = 0;
  void* out = nullptr;         // (T, rows); must not overlap x
  bool accumulate = false;     // out += rather than out =: the residual stream; f32 only
  DType outType = DType::f32;  // or bf16, with bf16 operands: half the bytes, where nothing is added to it
                               // (not even a bias, if cuBLAS is to compute it: see gatedOperand)
};
void matmul(const MatmulArgs& args, Blas* blas, Stream stream);

// BlockLinearArgs (linear.h) with x an operand.
struct BlockMatmulArgs {
  const void* x = nullptr;      // (T, G*B) of the weight's type
  MatrixView weight;            // rows = G*B, cols = N: G blocks [in][out]
  const float* bias = nullptr;  // (G*N) or null
  std::int64_t T = 0;
  std::int64_t G = 0;
  std::int64_t B = 0;
  float* out = nullptr;  // (T, G*N); must not overlap x
};
void blockMatmul(const BlockMatmulArgs& args, Blas* blas, Stream stream);

// MatmulArgs with quantised weights.
struct PackedMatmulArgs {
  const void* x = nullptr;  // (T, cols), bf16
  PackedRows weight;
  const float* bias = nullptr;
  std::int64_t T = 0;
  void* out = nullptr;
  bool accumulate = false;
  DType outType = DType::f32;
  void* workspace = nullptr;  // packedMatmulWorkspace bytes, 16-byte aligned
};
// Bytes of a slice of the weights as bf16: at most 32 MiB (a row, if that is more), so that it stays in the
// cache of a large card.
std::int64_t packedMatmulWorkspace(std::int64_t rows, std::int64_t cols);
void packedMatmul(const PackedMatmulArgs& args, Blas* blas, Stream stream);

// From how many rows of x on the ops here are taken in place of linear.cu and packed_linear.cu. These are
// estimates from the bytes that each way moves, for cards on which `doctor` has not measured them yet.
struct MatmulCrossover {
  static constexpr DType kTypes[] = {DType::bf16, DType::f16, DType::int8, DType::int4, DType::f32};

  std::int64_t f32 = 9;  // linear.cu reads the weights once for every 8 rows
  std::int64_t f16 = 9;
  std::int64_t bf16 = 9;
  std::int64_t int8 = 21;  // packed_linear.cu reads a byte for every 4 rows (2 where they are long); here a
                           // byte is read, two are written and read
  std::int64_t int4 = 33;  // half a byte for every 4 rows against half a byte and two twice

  constexpr std::int64_t& rows(DType weight) {
    switch (weight) {
      case DType::f32:
        return f32;
      case DType::f16:
        return f16;
      case DType::bf16:
        return bf16;
      case DType::int8:
        return int8;
      case DType::int4:
        return int4;
    }
    return bf16;
  }
  constexpr std::int64_t rows(DType weight) const { return MatmulCrossover(*this).rows(weight); }
};
// Of our own kernels, whose blocks compute 128 rows whether they are there or not, f32 without tensor cores.
inline constexpr MatmulCrossover kCrossoverWithoutBlas{256, 64, 64, 64, 64};

// What all of these come to.
void multiply(const Product& product, Blas* blas, Stream stream);

}  // namespace eyrie::kernels::cuda
