// Rotary embedding of the first `rotary` dims of every head, pairs (j, j + rotary/2); the rest untouched.
// angle = position * theta^(-2j/rotary). REFERENCE §1.2 local attention b; traps 20, 21.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

struct RopeArgs {
  float* x = nullptr;              // (T, heads, Dh), in place
  std::int64_t firstPosition = 0;  // absolute position of row 0; up to 2^53 without loss
  double theta = 10000.0;
  std::int64_t T = 0;
  std::int64_t heads = 0;
  std::int64_t Dh = 0;
  std::int64_t rotary = 0;  // even, <= Dh
};

namespace reference {
void rope(const RopeArgs& args);
}
namespace cpu {
void rope(const RopeArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
