// The arithmetic of one channel of the RG-LRU (rg_lru.h), in f32. For .cu files.
#pragma once

#include "kernels/cuda/device_code.h"
#include "kernels/rg_lru.h"

namespace eyrie::kernels::cuda {

__device__ __forceinline__ float sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return x >= 0.0F ? 1.0F / (1.0F + e) : e / (1.0F + e);
}

struct Gates {
  float recurrence, input, logDecay, decay, multiplier;
};

// `reset`: position 0.
__device__ __forceinline__ Gates gatesOf(float recurrencePre, float inputPre, float rate, bool reset) {
  Gates g{};
  g.recurrence = sigmoid(recurrencePre);
  g.input = sigmoid(inputPre);
  g.logDecay = -g.recurrence * rate;
  g.decay = expf(g.logDecay);
  g.multiplier = reset ? 1.0F : sqrtf(-expm1f(2.0F * g.logDecay));
  return g;
}

__device__ __forceinline__ float mapped(const RgLruOverrides::Channels& to, std::int64_t r, float value) {
  return to.scale[r] * value + to.offset[r];
}

__device__ __forceinline__ Gates overriddenGatesOf(float recurrencePre, float inputPre, float rate,
                                                   bool reset, const RgLruOverrides& to, std::int64_t r) {
  Gates g{};
  g.recurrence = fminf(1.0F, mapped(to.recurrenceGate, r, sigmoid(recurrencePre)));
  g.input = fminf(1.0F, mapped(to.inputGate, r, sigmoid(inputPre)));
  g.logDecay = fminf(0.0F, mapped(to.logDecay, r, -g.recurrence * rate));
  g.decay = expf(g.logDecay);
  const float multiplier = reset ? 1.0F : sqrtf(-expm1f(2.0F * g.logDecay));
  g.multiplier = fminf(1.0F, mapped(to.multiplier, r, multiplier));
  return g;
}

// All but `keep`.
__device__ __forceinline__ void observeGates(const RgLruTaps& taps, std::int64_t at, const Gates& g,
                                             float write) {
  if (taps.recurrenceGate != nullptr) taps.recurrenceGate[at] = g.recurrence;
  if (taps.inputGate != nullptr) taps.inputGate[at] = g.input;
  if (taps.logDecay != nullptr) taps.logDecay[at] = g.logDecay;
  if (taps.decay != nullptr) taps.decay[at] = g.decay;
  if (taps.write != nullptr) taps.write[at] = write;
}

__device__ __forceinline__ void observe(const RgLruTaps& taps, std::int64_t at, const Gates& g, float write,
                                        float keep) {
  observeGates(taps, at, g, write);
  if (taps.keep != nullptr) taps.keep[at] = keep;
}

}  // namespace eyrie::kernels::cuda
