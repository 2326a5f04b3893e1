// A range cut into parts of about equal length.
#pragma once

#include <algorithm>
#include <cstdint>

namespace eyrie::kernels::cpu {

// `n` cut into parts of at most `most`, about as long as one another, each but the last whole units.
struct Parts {
  std::int64_t n;
  std::int64_t most;  // whole units
  std::int64_t unit = 1;
  std::int64_t count = (n + most - 1) / most;
  std::int64_t begin(std::int64_t part) const {
    return std::min(n, part * ((n + unit - 1) / unit) / count * unit);
  }
  std::int64_t size(std::int64_t part) const { return begin(part + 1) - begin(part); }
};

}  // namespace eyrie::kernels::cpu
