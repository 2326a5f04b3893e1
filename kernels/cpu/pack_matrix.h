// The two steps of packing that the reference and the fast code share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace eyrie::kernels::cpu {

struct GroupScale {
  std::uint16_t bits = 0;  // bf16
  float inverse = 0;       // 1 / scale; 0 where everything is 0 or anything is not finite
};

// `extreme` is the value of largest magnitude of one row of a group, NaN where one is not finite. For int8
// the smallest scale that reaches it.
GroupScale groupScale(DType to, float extreme);

// int4: values as integers, the extreme as -kFitUnits, and their codes on a scale that maps it to -8. Sums of
// integers are exact in whatever order.
inline constexpr float kFitUnits = 2048;
struct Fit {
  float valueCodes = 0;  // sum of value * code
  float codeCodes = 0;   // sum of code * code
};
// The scale of least squared error for these codes.
GroupScale fittedScale(float extreme, const Fit& fit);

// codes (16, stride) of which `columns` count, a multiple of 8, to the group's weight bytes.
void interleaveCodes(DType to, const signed char* codes, std::int64_t stride, std::int64_t columns,
                     std::byte* out);

}  // namespace eyrie::kernels::cpu
