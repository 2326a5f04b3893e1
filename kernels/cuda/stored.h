// Stored elements widened to f32 and rounded from it, one at a time or 16 bytes at once. For .cu files.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/device_code.h"
#include "kernels/tensor_view.h"

namespace eyrie::kernels::cuda {

__device__ __forceinline__ float widened(float value) {
  return value;
}
__device__ __forceinline__ float widened(__half value) {
  return __half2float(value);
}
__device__ __forceinline__ float widened(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

// To the nearest; what f16 cannot hold becomes the largest it can.
__device__ __forceinline__ void rounded(float value, float& to) {
  to = value;
}
__device__ __forceinline__ void rounded(float value, __nv_bfloat16& to) {
  to = __float2bfloat16(value);
}
__device__ __forceinline__ void rounded(float value, __half& to) {
  constexpr float kLargest = 65504.0F;
  const float within = value > kLargest ? kLargest : value < -kLargest ? -kLargest : value;  // NaN stays
  to = __float2half(within);
}

// Elements of one 16-byte load.
template <class Stored>
inline constexpr int kPerLoad = 16 / static_cast<int>(sizeof(Stored));

// What kCount elements are loaded and stored as: 16 or 8 bytes at once, which must then be aligned, or one
// by one.
template <int kCount, class Stored>
inline constexpr bool kWide = sizeof(Stored[kCount]) == sizeof(uint4) ||
                              sizeof(Stored[kCount]) == sizeof(uint2);
template <int kCount, class Stored>
using Wide = std::conditional_t<sizeof(Stored[kCount]) == sizeof(uint4), uint4, uint2>;

// kCount consecutive elements.
template <int kCount, class Stored>
__device__ __forceinline__ void load(const Stored* from, Stored (&to)[kCount]) {
  if constexpr (kWide<kCount, Stored>) {
    const auto raw = *reinterpret_cast<const Wide<kCount, Stored>*>(from);
    memcpy(to, &raw, sizeof raw);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = from[i];
  }
}

template <int kCount, class Stored>
__device__ __forceinline__ void store(const Stored (&from)[kCount], Stored* to) {
  if constexpr (kWide<kCount, Stored>) {
    Wide<kCount, Stored> raw;
    memcpy(&raw, from, sizeof raw);
    *reinterpret_cast<Wide<kCount, Stored>*>(to) = raw;
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = from[i];
  }
}

// kCount consecutive floats, in 16-byte loads where kCount is a multiple of 4.
template <int kCount>
__device__ __forceinline__ void loadFloats(const float* from, float (&to)[kCount]) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      to[i] = four.x;
      to[i + 1] = four.y;
      to[i + 2] = four.z;
      to[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = from[i];
  }
}

inline bool isAligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

// body(Stored{}) with the C++ type of `dtype`, which is not packed.
template <class Body>
void withStored(DType dtype, Body body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::f16) return body(__half{});
  return body(__nv_bfloat16{});
}

}  // namespace eyrie::kernels::cuda
