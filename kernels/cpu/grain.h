// How finely a kernel's work is cut: a part shorter than the cost of waking a thread is not worth a thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace eyrie::kernels::cpu {

// Items per part, a multiple of `multiple`, so that a part takes about 10 microseconds or more.
inline std::int64_t grainFor(double nanosecondsPerItem, std::int64_t multiple = 1) {
  constexpr double kMinPartNanoseconds = 10'000;
  const auto items = static_cast<std::int64_t>(kMinPartNanoseconds / std::max(nanosecondsPerItem, 1e-3)) + 1;
  return (items + multiple - 1) / multiple * multiple;
}

}  // namespace eyrie::kernels::cpu
