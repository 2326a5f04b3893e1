// The ops on a card. Arguments are those of the contracts in kernels/*.h wherever they fit, with every
// pointer in device memory; `stream` comes last. No launcher allocates or waits, so a graph can capture any
// of them, and what changes from step to step (positions, where a sequence's state lies) is read from device
// memory (trap 41). Arithmetic is f32 throughout unless a line says otherwise. Calls throw CudaError when a
// launch fails.
//
// | op (kernels/*.h)        | on the card                                                  | file |
// |-------------------------|--------------------------------------------------------------|---------------------|
// | embed                   | embed                                                        | embed.cu | |
// rms_norm                | rmsNorm; in projections and gatedProjection                  | rms_norm.cu,
// linear.cu | | linear                  | linear, projections: few rows; Blas (blas.h): many           |
// linear.cu           | | linear, packed weights  | packedProjections | packed_linear.cu    | | block_linear
// | blockLinear; in recurrentStep                                | block_linear.cu     | | conv1d | conv1d;
// in recurrentStep                                     | conv1d.cu           | | rg_lru                  |
// rgLru; in recurrentStep                                      | rg_lru.cu           | | conv1d +
// block_linear + rg_lru + gated_mlp, one token | recurrentStep                  | recurrent_step.cu   | |
// rope, ring append       | ropeTable, rope, ropeAppend, ringAppend                      | rope.cu | |
// attention               | attention (chunks), decodeAttention (one token a sequence)   | attention.cu,
// decode_attention.cu | | gated_mlp               | gatedActivation; in gatedProjection and recurrentStep |
// gated_mlp.cu        | | logits                  | softCap, logitStats | logits.cu           | | sample |
// topK                                                         | sample.cu           |
#pragma once

#include <array>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/conv1d.h"
#include "kernels/cuda/stream.h"
#include "kernels/embed.h"
#include "kernels/gated_mlp.h"
#include "kernels/linear.h"
#include "kernels/logits.h"
#include "kernels/rg_lru.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/sample.h"

namespace eyrie::kernels::cuda {

void embed(const EmbedArgs& args, Stream stream);
void rmsNorm(const RmsNormArgs& args, Stream stream);
void gatedActivation(const GatedActivationArgs& args, Stream stream);

// ---- matrix-vector products: each weight is read once for every 8 rows of x ----

// One matrix that reads x.
struct Projection {
  MatrixView weight;            // (rows, cols), f32, f16 or bf16
  const float* bias = nullptr;  // (rows) or null
  float* out = nullptr;         // (T, rows); must not overlap x
};

struct ProjectionArgs {
  const float* x = nullptr;           // (T, cols)
  const float* normWeight = nullptr;  // (cols): x is RMS-normed first (rms_norm.h); null: x as it is
  float eps = 1e-6F;
  std::int64_t T = 0;
  std::array<Projection, 3> outputs;  // those with weights, first ones first; of the same type and cols
  bool accumulate = false;            // out += rather than out =: the residual stream
};

// out = activation(x' gate^T + gateBias) * (x' up^T + upBias), x' as above: norm, two products and GeGLU in
// one.
struct GatedProjectionArgs {
  const float* x = nullptr;  // (T, cols)
  const float* normWeight = nullptr;
  float eps = 1e-6F;
  std::int64_t T = 0;
  MatrixView gate, up;  // (rows, cols), of the same type and size
  const float* gateBias = nullptr;
  const float* upBias = nullptr;
  Activation activation = Activation::geluTanh;
  float* out = nullptr;  // (T, rows)
};

void linear(const LinearArgs& args, Stream stream);
void projections(const ProjectionArgs& args, Stream stream);
void gatedProjection(const GatedProjectionArgs& args, Stream stream);
void blockLinear(const BlockLinearArgs& args, Stream stream);

}  // namespace eyrie::kernels::cuda
