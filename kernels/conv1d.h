// Temporal convolution, causal, depthwise, K taps, bias, no activation. REFERENCE §1.2 conv1d; traps 10-12.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

struct Conv1dArgs {
  const float* x = nullptr;       // (T, R)
  float* tail = nullptr;          // (K-1, R): the last K-1 inputs, oldest first; read, then updated in place
  const float* weight = nullptr;  // (K, R): row K-1 multiplies the current token
  const float* bias = nullptr;    // (R)
  std::int64_t T = 0;
  std::int64_t R = 0;
  std::int64_t K = 0;    // >= 1
  float* out = nullptr;  // (T, R); must not overlap x
};

namespace reference {
void conv1d(const Conv1dArgs& args);
}
namespace cpu {
void conv1d(const Conv1dArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
