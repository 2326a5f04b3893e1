// Every tolerance of the kernel tests, in one place: largest |x - expected| divided by largest |expected|,
// where expected is computed in double from the same stored weights. Rows grow with the accumulation length,
// because f32 sums do. Weights widen without loss, so the stored type does not loosen a row: the arithmetic
// is f32. Every test also runs a deliberately broken variant that its row must reject.
#pragma once

#include <cstdint>
#include <string_view>

namespace eyrie::kernels::test {

struct ToleranceRow {
  std::string_view op;
  std::int64_t maxLength;  // terms added up per output
  double bound;
};

inline constexpr ToleranceRow kTolerances[] = {
    {"rmsNorm", 256, 1e-6},
    {"rmsNorm", 16384, 1e-5},
    {"linear", 256, 4e-6},
    {"packedLinear", 16384, 1e-4},  // inputs of 16 bits
    {"linear", 4096, 2e-5},
    {"linear", 16384, 6e-5},
    {"blockLinear", 256, 4e-6},
    {"matmul", 4096, 2e-5},         // from the operand on, which the test rounds as the op does
    {"roundedMatmul", 4096, 6e-3},  // operand rounded to bf16, and packed weights
    {"conv1d", 16, 6e-7},
    {"rgLru", 256, 4e-6},     // steps: each adds a rounding, decays forget it
    {"rgLru", 16384, 6e-4},   // a = 0.9999 held for 8192 steps: half an ulp of a, 8192 times
    {"rgLru", 131072, 7e-3},  // the same for 100,000 steps: an ulp of a, 100,000 times
    {"rgLruGate", 1, 4e-7},   // one sigmoid, exponential or square root
    {"rope", 2, 3e-7},
    {"attention", 256, 4e-6},  // keys and head size, whichever is more
    {"attention", 16384, 2e-5},
    {"tensorAttention", 256, 4e-3},  // weights rounded to bf16, and what is multiplied before that
    {"gatedActivation", 1, 6e-7},
    {"embed", 1, 1e-7},
    {"softCap", 1, 6e-7},
    {"logitStats", 300000, 4e-6},
    {"complexRgLru", 256, 4e-6},
    {"complexRgLru", 16384, 2e-3},
};

// Bound of the first row that covers `length`; 0 (nothing passes) where there is none.
constexpr double toleranceFor(std::string_view op, std::int64_t length) {
  for (const ToleranceRow& row : kTolerances) {
    if (row.op == op && length <= row.maxLength) return row.bound;
  }
  return 0.0;
}

}  // namespace eyrie::kernels::test
