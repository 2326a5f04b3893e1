// RMSNorm: out = x / sqrt(mean(x^2) + eps) * (1 + w). REFERENCE §1.2 rows 3, 6, 8; traps 16.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

struct RmsNormArgs {
  const float* x = nullptr;       // (T, D)
  const float* weight = nullptr;  // (D): stored w of (1 + w)
  float eps = 1e-6F;              // inside the square root
  std::int64_t T = 0;
  std::int64_t D = 0;
  float* out = nullptr;  // (T, D); may be x
};

namespace reference {
void rmsNorm(const RmsNormArgs& args);
}
namespace cpu {
void rmsNorm(const RmsNormArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
