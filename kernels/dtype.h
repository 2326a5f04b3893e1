// Element types of stored tensors, and exact conversions to f32 (bf16 and f16 widen without loss). int8 and
// int4 are quantised matrices (kernels/packed_matrix.h): they have no single elements and no dtypeSize.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace eyrie::kernels {

enum class DType : std::uint8_t { f32, f16, bf16, int8, int4 };

constexpr bool isPacked(DType dtype) {
  return dtype == DType::int8 || dtype == DType::int4;
}

// Bytes of one element; not for packed types.
constexpr std::size_t dtypeSize(DType dtype) {
  return dtype == DType::f32 ? 4 : 2;
}

// "F32", "F16", "BF16": the names safetensors uses; "INT8", "INT4" for packed ones.
constexpr const char* dtypeName(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::int8:
      return "INT8";
    case DType::int4:
      return "INT4";
  }
  return "?";
}

constexpr float bf16ToFloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest, ties to even; NaN stays NaN.
constexpr std::uint16_t floatToBf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

float f16ToFloat(std::uint16_t bits);
std::uint16_t floatToF16(float value);  // round to nearest even; overflow becomes infinity

// Element `index` of an array of `dtype` starting at `data`, widened to f32.
float loadAsFloat(const void* data, DType dtype, std::size_t index);
// `count` elements widened to f32 (exact). `out` must not overlap `data`.
void widen(const void* data, DType dtype, std::size_t count, float* out);

}  // namespace eyrie::kernels
