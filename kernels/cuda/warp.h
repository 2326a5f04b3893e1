// Sums and maxima over a warp and over a block. Every lane (thread) must come, and gets the result. For .cu
// files.
#pragma once

#include "kernels/cuda/device_code.h"

namespace eyrie::kernels::cuda {

__device__ __forceinline__ float warpSum(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ __forceinline__ float warpMax(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// `partials` has a float for each warp of the block and may be used again after the call.
__device__ __forceinline__ float blockSum(float value, float* partials) {
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned warp = threadIdx.x / kWarp;
  const unsigned warps = blockDim.x / kWarp;
  value = warpSum(value);
  if (lane == 0) partials[warp] = value;
  __syncthreads();
  value = warpSum(lane < warps ? partials[lane] : 0.0F);
  __syncthreads();
  return value;
}

__device__ __forceinline__ float blockMax(float value, float* partials) {
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned warps = blockDim.x / kWarp;
  value = warpMax(value);
  if (lane == 0) partials[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = warpMax(lane < warps ? partials[lane] : partials[0]);
  __syncthreads();
  return value;
}

}  // namespace eyrie::kernels::cuda
