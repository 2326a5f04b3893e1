// Operands of matrix products: norm or gate, and rounding, in one pass.
#include <cassert>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/stored.h"
#include "kernels/cuda/warp.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kFour = 4;  // elements read at once where rows are aligned

template <int kCount, class Stored>
__device__ __forceinline__ void storeRounded(const float (&values)[kCount], Stored* to) {
  Stored stored[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) rounded(values[i], stored[i]);
  store(stored, to);
}

template <class Stored, int kCount>
__global__ void __launch_bounds__(kThreads) operand_kernel(OperandArgs args) {
  EYRIE_SHARED(float, partials, [kThreads / kWarp]);
  const float* row = args.x + blockIdx.x * args.D;
  float scale = 1.0F;
  if (args.normWeight != nullptr) {
    float squares = 0;
    for (std::int64_t d = threadIdx.x * kCount; d < args.D; d += kThreads * kCount) {
      float x[kCount];
      loadFloats(row + d, x);
#pragma unroll
      for (int i = 0; i < kCount; ++i) squares += x[i] * x[i];
    }
    scale = 1.0F / sqrtf(blockSum(squares, partials) / static_cast<float>(args.D) + args.eps);
  }
  // Each thread writes what it alone reads, so `out` may be `x`.
  auto* out = static_cast<Stored*>(args.out) + blockIdx.x * args.D;
  for (std::int64_t d = threadIdx.x * kCount; d < args.D; d += kThreads * kCount) {
    float x[kCount];
    loadFloats(row + d, x);
    if (args.normWeight != nullptr) {
      float weight[kCount];
      loadFloats(args.normWeight + d, weight);
#pragma unroll
      for (int i = 0; i < kCount; ++i) x[i] = x[i] * scale * (1.0F + weight[i]);
    }
    storeRounded(x, out + d);
  }
}

// Gate or up: elements from `at` on, with their biases.
template <int kCount, class Input>
__device__ __forceinline__ void loadBiased(const void* from, std::int64_t at, const float* bias,
                                           std::int64_t e, float (&to)[kCount]) {
  Input stored[kCount];
  load(static_cast<const Input*>(from) + at, stored);
  float offset[kCount] = {};
  if (bias != nullptr) loadFloats(bias + e, offset);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = widened(stored[i]) + offset[i];
}

template <class Stored, class Input, int kCount>
__global__ void __launch_bounds__(kThreads) gated_operand_kernel(GatedOperandArgs args) {
  const std::int64_t row = blockIdx.x * args.E;
  for (std::int64_t e = threadIdx.x * kCount; e < args.E; e += kThreads * kCount) {
    float gate[kCount];
    float up[kCount];
    loadBiased<kCount, Input>(args.gate, row + e, args.gateBias, e, gate);
    loadBiased<kCount, Input>(args.up, row + e, args.upBias, e, up);
#pragma unroll
    for (int i = 0; i < kCount; ++i) up[i] *= activate(gate[i], args.activation);
    storeRounded(up, static_cast<Stored*>(args.out) + row + e);
  }
}

bool allAligned(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers)
    if (!isAligned(pointer)) return false;
  return true;
}

// body(Stored{}, std::integral_constant<int, elements at once>) for rows of `width` elements.
template <class Body>
void withElements(DType dtype, std::int64_t width, std::initializer_list<const void*> pointers, Body body) {
  const bool fours = width % kFour == 0 && allAligned(pointers);
  withStored(dtype, [&](auto stored) {
    if (fours) return body(stored, std::integral_constant<int, kFour>{});
    body(stored, std::integral_constant<int, 1>{});
  });
}

Shape rowShape(std::int64_t rows) {
  return {dim3(static_cast<unsigned>(rows)), dim3(kThreads)};
}

}  // namespace

void operand(const OperandArgs& args, Stream stream) {
  if (args.T == 0 || args.D == 0) return;
  withElements(args.dtype, args.D, {args.x, args.normWeight, args.out}, [&](auto stored, auto count) {
    launch(operand_kernel<decltype(stored), count()>, rowShape(args.T), stream, args);
  });
}

void gatedOperand(const GatedOperandArgs& args, Stream stream) {
  assert(args.inputType == DType::f32 || (args.inputType == DType::bf16 && args.dtype == DType::bf16));
  if (args.T == 0 || args.E == 0) return;
  withElements(args.dtype, args.E, {args.gate, args.up, args.gateBias, args.upBias, args.out},
               [&](auto stored, auto count) {
                 using Stored = decltype(stored);
                 auto kernel = gated_operand_kernel<Stored, float, count()>;
                 if constexpr (std::is_same_v<Stored, __nv_bfloat16>)
                   if (args.inputType == DType::bf16) kernel = gated_operand_kernel<Stored, Stored, count()>;
                 launch(kernel, rowShape(args.T), stream, args);
               });
}

}  // namespace eyrie::kernels::cuda
