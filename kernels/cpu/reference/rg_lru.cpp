#include "kernels/rg_lru.h"

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

void rgLru(const RgLruArgs& args) {
  for (std::int64_t t = 0; t < args.T; ++t) {
    const bool reset = args.startsSequence && t == 0;
    for (std::int64_t r = 0; r < args.R; ++r) {
      const std::int64_t at = t * args.R + r;
      const float recurrenceGate = sigmoid(args.recurrencePre[at]);
      const float inputGate = sigmoid(args.inputPre[at]);
      const float logDecay = -recurrenceGate * args.decayRate[r];
      const float decay = std::exp(logDecay);
      const float multiplier = reset ? 1.0F : std::sqrt(-std::expm1(2.0F * logDecay));
      const float write = multiplier * (inputGate * args.x[at]);
      const float keep = reset ? 0.0F : decay * args.state[r];
      const float state = keep + write;
      args.state[r] = state;
      args.out[at] = state;
      observe(args.taps.recurrenceGate, at, recurrenceGate);
      observe(args.taps.inputGate, at, inputGate);
      observe(args.taps.logDecay, at, logDecay);
      observe(args.taps.decay, at, decay);
      observe(args.taps.write, at, write);
      observe(args.taps.keep, at, keep);
    }
  }
}

}  // namespace eyrie::kernels::reference
