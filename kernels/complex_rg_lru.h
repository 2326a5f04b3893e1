// The RG-LRU with complex states: DeepMind's JAX RGLRU with only_real=False.
//   r = sigmoid(recurrencePre), i = sigmoid(inputPre), log|a| = -r * decayRate, angle = r * angleRate,
//   a = exp(log|a| + j angle), m = sqrt(-expm1(2 log|a|)), h = a h + m (i c);  at position 0: a = 0, m = 1.
// C complex channels stand in rows of 2 C floats: the C real parts, then the C imaginary parts. Gates are
// real, one of each a channel. All arithmetic in f32 whatever the weights are.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

// Optional observations, each null or an array. Position 0 as in RgLruTaps: logDecay, decay and angle report
// the gate's own values, write is i*c and keep is 0.
struct ComplexRgLruTaps {
  float* recurrenceGate = nullptr;  // (T, C)
  float* inputGate = nullptr;       // (T, C)
  float* logDecay = nullptr;        // (T, C): log |a|
  float* decay = nullptr;           // (T, C): |a|
  float* angle = nullptr;           // (T, C): radians a token, the argument of a
  float* write = nullptr;           // (T, 2 C): m * i * c
  float* keep = nullptr;            // (T, 2 C): a * h_before
};

// Angles this large still come out right to 3 ulp; real ones are below pi.
inline constexpr float kLargestAngle = 39'000.0F;

struct ComplexRgLruArgs {
  const float* x = nullptr;              // (T, 2 C): c, the convolution's output
  const float* recurrencePre = nullptr;  // (T, C): recurrence gate before the sigmoid
  const float* inputPre = nullptr;       // (T, C): input gate before the sigmoid
  const float* decayRate = nullptr;      // (C): decayRateOf the checkpoint's p
  const float* angleRate = nullptr;      // (C): the angle at r = 1, within kLargestAngle either way
  float* state = nullptr;                // (2 C): h, read, then updated in place
  bool startsSequence = false;           // row 0 is position 0: the state is ignored and m = 1
  std::int64_t T = 0;
  std::int64_t C = 0;
  float* out = nullptr;  // (T, 2 C): h at each step; may be x
  ComplexRgLruTaps taps;
};

namespace reference {
void complexRgLru(const ComplexRgLruArgs& args);
}
namespace cpu {
void complexRgLru(const ComplexRgLruArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
