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

// `extreme` is the value of largest magnitude of one row of a group, NaN where one is not finite.
GroupScale groupScale(DType to, float extreme);

// codes (16, stride) of which `columns` count, a multiple of 8, to the group's weight bytes.
void interleaveCodes(DType to, const signed char* codes, std::int64_t stride, std::int64_t columns,
                     std::byte* out);

}  // namespace eyrie::kernels::cpu
