// The arithmetic of one channel of the complex RG-LRU (complex_rg_lru.h), in f32. For .cu files.
#pragma once

#include "kernels/complex_rg_lru.h"
#include "kernels/cuda/gates.h"

namespace eyrie::kernels::cuda {

struct Complex {
  float real, imag;
};

__device__ __forceinline__ Complex operator*(Complex a, Complex b) {
  return {a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real};
}
__device__ __forceinline__ Complex operator+(Complex a, Complex b) {
  return {a.real + b.real, a.imag + b.imag};
}

struct ComplexGates {
  Gates of;
  float angle;
  Complex a;

  __device__ __forceinline__ Complex writeOf(Complex x) const {
    return {of.multiplier * (of.input * x.real), of.multiplier * (of.input * x.imag)};
  }
};

// `reset`: position 0.
__device__ __forceinline__ ComplexGates complexGatesOf(float recurrencePre, float inputPre, float rate,
                                                       float angleRate, bool reset) {
  ComplexGates g{};
  g.of = gatesOf(recurrencePre, inputPre, rate, reset);
  g.angle = g.of.recurrence * angleRate;
  g.a = {g.of.decay * cosf(g.angle), g.of.decay * sinf(g.angle)};
  return g;
}

// Channel c's gates in row `row`.
__device__ __forceinline__ void observe(const ComplexRgLruTaps& taps, std::int64_t row, std::int64_t C,
                                        std::int64_t c, const ComplexGates& g) {
  const std::int64_t at = row * C + c;
  if (taps.recurrenceGate != nullptr) taps.recurrenceGate[at] = g.of.recurrence;
  if (taps.inputGate != nullptr) taps.inputGate[at] = g.of.input;
  if (taps.logDecay != nullptr) taps.logDecay[at] = g.of.logDecay;
  if (taps.decay != nullptr) taps.decay[at] = g.of.decay;
  if (taps.angle != nullptr) taps.angle[at] = g.angle;
}

__device__ __forceinline__ void observe(const ComplexRgLruTaps& taps, std::int64_t row, std::int64_t C,
                                        std::int64_t c, Complex write, Complex keep) {
  const std::int64_t real = 2 * row * C + c;
  if (taps.write != nullptr) {
    taps.write[real] = write.real;
    taps.write[real + C] = write.imag;
  }
  if (taps.keep != nullptr) {
    taps.keep[real] = keep.real;
    taps.keep[real + C] = keep.imag;
  }
}

}  // namespace eyrie::kernels::cuda
