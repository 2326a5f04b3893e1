#include "kernels/complex_rg_lru.h"

#include <cmath>

namespace eyrie::kernels::reference {
namespace {

float sigmoid(float x) {
  const float e = std::exp(-std::abs(x));
  return x >= 0 ? 1.0F / (1.0F + e) : e / (1.0F + e);
}

void observe(float* tap, std::int64_t index, float value) {
  if (tap != nullptr) tap[index] = value;
}

}  // namespace

void complexRgLru(const ComplexRgLruArgs& args) {
  const std::int64_t C = args.C;
  for (std::int64_t t = 0; t < args.T; ++t) {
    const bool reset = args.startsSequence && t == 0;
    for (std::int64_t c = 0; c < C; ++c) {
      const std::int64_t gate = t * C + c;
      const std::int64_t real = 2 * t * C + c;
      const std::int64_t imag = real + C;
      const float recurrenceGate = sigmoid(args.recurrencePre[gate]);
      const float inputGate = sigmoid(args.inputPre[gate]);
      const float logDecay = -recurrenceGate * args.decayRate[c];
      const float decay = std::exp(logDecay);
      const float angle = recurrenceGate * args.angleRate[c];
      const float multiplier = reset ? 1.0F : std::sqrt(-std::expm1(2.0F * logDecay));
      const float writeReal = multiplier * (inputGate * args.x[real]);
      const float writeImag = multiplier * (inputGate * args.x[imag]);
      const float aReal = decay * std::cos(angle);
      const float aImag = decay * std::sin(angle);
      const float before[2] = {args.state[c], args.state[C + c]};
      const float keepReal = reset ? 0.0F : aReal * before[0] - aImag * before[1];
      const float keepImag = reset ? 0.0F : aReal * before[1] + aImag * before[0];
      args.out[real] = args.state[c] = keepReal + writeReal;
      args.out[imag] = args.state[C + c] = keepImag + writeImag;
      observe(args.taps.recurrenceGate, gate, recurrenceGate);
      observe(args.taps.inputGate, gate, inputGate);
      observe(args.taps.logDecay, gate, logDecay);
      observe(args.taps.decay, gate, decay);
      observe(args.taps.angle, gate, angle);
      observe(args.taps.write, real, writeReal);
      observe(args.taps.write, imag, writeImag);
      observe(args.taps.keep, real, keepReal);
      observe(args.taps.keep, imag, keepImag);
    }
  }
}

}  // namespace eyrie::kernels::reference
