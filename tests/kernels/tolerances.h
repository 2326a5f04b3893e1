// Every tolerance of the kernel tests, in one place: largest |x - expected| divided by largest |expected|,
// where expected is computed in double from the same stored weights. Rows grow with the accumulation length,
// because f32 sums do. Weights widen without loss, so the stored type does not loosen a row: the arithmetic
// is f32. Every test also runs a deliberately broken variant that its row must reject.
#pragma once

#include <cmath>
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

// Functions of one number over their whole ranges (functions_test.cpp), relative to each value: units in its
// last place, and as many more for each unit of its logarithm, as where a power's rounded exponent counts.
struct UlpRow {
  std::string_view function;
  double ulps;
  double perUnit;
};

inline constexpr UlpRow kUlpTolerances[] = {
    {"gate", 3, 0.25},        // one rounding of x log2 e, of the constant's
    {"gateUnfused", 3, 1.4},  // and of the product: where multiply-adds round twice
    {"decay", 3, 1.4},
    {"multiplier", 3, 0},
    {"gateOverridden", 3, 0},
    {"decayOverridden", 1, 0},
    {"multiplierOverridden", 2, 0},
    {"silu", 3, 0},
    {"geluTanh", 4, 3},  // four roundings of the exponent
    {"softCap", 5, 0},
    {"decayRate", 2, 0},
};

// 0 (nothing passes) where there is no row.
inline double ulpsFor(std::string_view function, double value) {
  for (const UlpRow& row : kUlpTolerances) {
    if (row.function == function) return row.ulps + row.perUnit * std::abs(std::log(std::abs(value)));
  }
  return 0.0;
}

}  // namespace eyrie::kernels::test
