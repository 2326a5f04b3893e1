// Real-Gated Linear Recurrent Unit (Griffin, eq. 1-4; REFERENCE §1.2 RG-LRU; traps 1-9, 39).
//   r = sigmoid(recurrencePre), i = sigmoid(inputPre), log_a = -r * decayRate, a = exp(log_a),
//   m = sqrt(-expm1(2 log_a)), h = a h + m (i c);  at sequence position 0: a = 0, m = 1.
// All arithmetic in f32 whatever the weights are.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

// Optional observations, each (T, R) or null. At position 0 logDecay and decay report the gate's own value
// (position 0 not special), write is i*c and keep is 0: what really entered the state.
struct RgLruTaps {
  float* recurrenceGate = nullptr;
  float* inputGate = nullptr;
  float* logDecay = nullptr;
  float* decay = nullptr;
  float* write = nullptr;  // m * i * c
  float* keep = nullptr;   // a * h_before
};

// What a channel's values are made into, (R) arrays all of them, scale 1 and offset 0 for those left alone:
//   r' = min(1, map r), i' = min(1, map i), log_a' = min(0, map(-r' decayRate)), a' = exp(log_a'),
//   m' = min(1, map m) with m = sqrt(-expm1(2 log_a')), or 1 at position 0,
//   h' = map(a' h + m' (i' c)), or map(m' (i' c)) at position 0;   map v = scale v + offset.
// An offset of -infinity for log_a makes a' 0. Taps show r', i', log_a', a', m' (i' c), a' h; the state is
// h'.
struct RgLruOverrides {
  struct Channels {
    const float* scale = nullptr;
    const float* offset = nullptr;
  };
  Channels recurrenceGate, inputGate, logDecay, multiplier, state;
};

struct RgLruArgs {
  const float* x = nullptr;              // (T, R): c, the convolution's output
  const float* recurrencePre = nullptr;  // (T, R): recurrence gate before the sigmoid
  const float* inputPre = nullptr;       // (T, R): input gate before the sigmoid
  const float* decayRate = nullptr;      // (R): 8 * softplus(p), folded in f32 from the checkpoint's p
  float* state = nullptr;                // (R): h, read, then updated in place
  bool startsSequence = false;           // row 0 is position 0: the state is ignored and m = 1
  std::int64_t T = 0;
  std::int64_t R = 0;
  float* out = nullptr;  // (T, R): h at each step; may be x, recurrencePre or inputPre
  RgLruTaps taps;
  const RgLruOverrides* overrides = nullptr;  // null: none, at no cost
};

// 8 * softplus(p) without overflow for any finite p (traps 4, 9, 47).
float decayRateOf(float recurrentParam);

namespace reference {
void rgLru(const RgLruArgs& args);
}
namespace cpu {
void rgLru(const RgLruArgs& args, ThreadPool& pool);
// What rgLru does where there are overrides.
void rgLruOverridden(const RgLruArgs& args, ThreadPool& pool);
}  // namespace cpu

}  // namespace eyrie::kernels
