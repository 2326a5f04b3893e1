// dtype.h's widen() with vector instructions, for weight panels; internal to the CPU kernels.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace eyrie::kernels::cpu {

// `count` elements from element `first` of `data` on, widened to f32 (exact) times `scale`.
void widenElements(const void* data, DType dtype, std::int64_t first, std::int64_t count, float scale,
                   float* out);

}  // namespace eyrie::kernels::cpu
