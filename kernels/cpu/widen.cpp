#include "kernels/cpu/widen.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/widen.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class Stored>
void widenFrom(const void* data, std::int64_t first, std::int64_t count, float scale, float* out) {
  const Stored* from = static_cast<const Stored*>(data) + first;
  const std::int64_t lanes = laneCount();
  const FloatVec factor = hn::Set(FloatTag(), scale);
  for (std::int64_t i = 0; i < count; i += lanes) {
    const std::int64_t here = std::min(lanes, count - i);
    storeUpTo(hn::Mul(loadUpTo(from + i, here), factor), out + i, here);
  }
}

}  // namespace

void widenScaled(const void* data, DType dtype, std::int64_t first, std::int64_t count, float scale,
                 float* out) {
  withStored(dtype,
             [&](auto element) HWY_ATTR { widenFrom<decltype(element)>(data, first, count, scale, out); });
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(widenScaled);

void widenElements(const void* data, DType dtype, std::int64_t first, std::int64_t count, float scale,
                   float* out) {
  HWY_DYNAMIC_DISPATCH(widenScaled)(data, dtype, first, count, scale, out);
}

}  // namespace eyrie::kernels::cpu
#endif
