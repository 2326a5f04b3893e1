// f32 → f16 as IEEE 754 rounds: to nearest, ties to even, subnormals kept, too large = infinity.
#pragma once

#include <cstdint>

namespace eyrie::sessions {

std::uint16_t toHalf(float value);

}  // namespace eyrie::sessions
