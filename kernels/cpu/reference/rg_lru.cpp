#include "kernels/rg_lru.h"

#include <algorithm>
#include <cmath>

namespace eyrie::kernels::reference {
namespace {

float sigmoid(float x) {
  const float e = std::exp(-std::abs(x));
  return x >= 0 ? 1.0F / (1.0F + e) : e / (1.0F + e);
}

float mapped(const RgLruOverrides::Channels& channels, std::int64_t r, float value) {
  return channels.scale[r] * value + channels.offset[r];
}

void observe(float* tap, std::int64_t index, float value) {
  if (tap != nullptr) tap[index] = value;
}

}  // namespace

void rgLru(const RgLruArgs& args) {
  const RgLruOverrides* overrides = args.overrides;
  for (std::int64_t t = 0; t < args.T; ++t) {
    const bool reset = args.startsSequence && t == 0;
    for (std::int64_t r = 0; r < args.R; ++r) {
      const std::int64_t at = t * args.R + r;
      float recurrenceGate = sigmoid(args.recurrencePre[at]);
      float inputGate = sigmoid(args.inputPre[at]);
      if (overrides != nullptr) {
        recurrenceGate = std::min(1.0F, mapped(overrides->recurrenceGate, r, recurrenceGate));
        inputGate = std::min(1.0F, mapped(overrides->inputGate, r, inputGate));
      }
      float logDecay = -recurrenceGate * args.decayRate[r];
      if (overrides != nullptr) logDecay = std::min(0.0F, mapped(overrides->logDecay, r, logDecay));
      const float decay = std::exp(logDecay);
      float multiplier = reset ? 1.0F : std::sqrt(-std::expm1(2.0F * logDecay));
      if (overrides != nullptr) multiplier = std::min(1.0F, mapped(overrides->multiplier, r, multiplier));
      const float write = multiplier * (inputGate * args.x[at]);
      const float keep = reset ? 0.0F : decay * args.state[r];
      float state = keep + write;
      if (overrides != nullptr) state = mapped(overrides->state, r, state);
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
