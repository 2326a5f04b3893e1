#include "kernels/dtype.h"

#include <cmath>
#include <cstring>

namespace eyrie::kernels {

float f16ToFloat(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU;
  const std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}

std::uint16_t floatToF16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) {
    const std::uint32_t payload = (magnitude >> 13) & 0x3ffU;
    return static_cast<std::uint16_t>(sign | 0x7e00U | payload);
  }
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to 65536
  if (magnitude < 0x38800000U) {  // below 2^-14: adding 0.5 aligns the mantissa to multiples of 2^-24
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3f000000U));
  }
  const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

float loadAsFloat(const void* data, DType dtype, std::size_t index) {
  const auto* bytes = static_cast<const unsigned char*>(data) + index * dtypeSize(dtype);
  if (dtype == DType::f32) {
    float value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof bits);
  return dtype == DType::f16 ? f16ToFloat(bits) : bf16ToFloat(bits);
}

void widen(const void* data, DType dtype, std::size_t count, float* out) {
  if (count == 0) return;
  if (dtype == DType::f32) {
    std::memcpy(out, data, count * sizeof(float));
    return;
  }
  for (std::size_t index = 0; index < count; ++index) out[index] = loadAsFloat(data, dtype, index);
}

}  // namespace eyrie::kernels
