#include "sessions/export/half.h"

#include <bit>

namespace eyrie::sessions {

std::uint16_t toHalf(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = std::uint16_t(bits >> 16 & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return std::uint16_t(sign | 0x7E00U);   // NaN
  if (magnitude >= 0x477FF000U) return std::uint16_t(sign | 0x7C00U);  // 65520 and above round to infinity
  if (magnitude >= 0x38800000U) {                                      // normal in f16
    const std::uint32_t rebased = magnitude - (112U << 23);
    return std::uint16_t(sign | ((rebased + 0xFFFU + (rebased >> 13 & 1U)) >> 13));
  }
  if (magnitude < 0x33000000U) return sign;  // below half of the smallest subnormal
  const std::uint32_t shift = 126U - (magnitude >> 23);
  const std::uint32_t mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
  const std::uint32_t whole = mantissa >> shift;
  const std::uint32_t rest = mantissa & ((1U << shift) - 1U);
  const std::uint32_t half = 1U << (shift - 1U);
  const bool up = rest > half || (rest == half && (whole & 1U) != 0);
  return std::uint16_t(sign | (whole + (up ? 1U : 0U)));
}

}  // namespace eyrie::sessions
