// Inputs of the RG-LRU for its tests: random gates, decays from slow to fast, and room for what comes out.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/rg_lru.h"
#include "tests/kernels/kernel_test.h"

namespace eyrie::kernels::test {

struct RgLruData {
  std::int64_t T, R;
  std::vector<float> x, recurrencePre, inputPre, rate, state;

  RgLruData(std::int64_t tokens, std::int64_t width)
      : T(tokens),
        R(width),
        x(randomVector(T * R, 51)),
        recurrencePre(randomVector(T * R, 52, 2.0F)),
        inputPre(randomVector(T * R, 53, 2.0F)),
        state(randomVector(R, 54)) {
    for (std::int64_t r = 0; r < R; ++r)
      rate.push_back(decayRateOf(-5.0F + 0.37F * static_cast<float>(r % 15)));
  }
};

// Everything the op gives, in double.
struct ExactRgLru {
  std::vector<double> out, state, recurrenceGate, inputGate, logDecay, decay, write, keep;
};

inline RgLruArgs argsOf(const RgLruData& data, std::vector<float>& state, std::vector<float>& out,
                        bool startsSequence) {
  RgLruArgs args;
  args.x = data.x.data();
  args.recurrencePre = data.recurrencePre.data();
  args.inputPre = data.inputPre.data();
  args.decayRate = data.rate.data();
  args.state = state.data();
  args.startsSequence = startsSequence;
  args.T = data.T;
  args.R = data.R;
  args.out = out.data();
  return args;
}

inline double sigmoid(double v) {
  return 1.0 / (1.0 + std::exp(-v));
}

}  // namespace eyrie::kernels::test
