// CUDA's vector and 16-bit types, for compilers without its headers.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned ofX = 1, unsigned ofY = 1, unsigned ofZ = 1) : x(ofX), y(ofY), z(ofZ) {}
};

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

struct __nv_bfloat16 {
  std::uint16_t bits;
};
struct __half {
  std::uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) {
  return eyrie::kernels::bf16ToFloat(value.bits);
}
inline __nv_bfloat16 __float2bfloat16(float value) {
  return {eyrie::kernels::floatToBf16(value)};
}
inline float __half2float(__half value) {
  return eyrie::kernels::f16ToFloat(value.bits);
}
inline __half __float2half(float value) {
  return {eyrie::kernels::floatToF16(value)};
}
