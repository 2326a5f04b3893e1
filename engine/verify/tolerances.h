// The one table of tolerances. Errors are normalised: to the spread or the size of what is expected, or to
// each value. Every row stands with a deliberately broken variant that it must reject (goldens.cpp,
// invariants.cpp, serving_checks.cpp, op_parity.cpp, card_ops.cpp; tensor cores' in verify_test.cpp, stored
// types' in converted_weights_test.cpp and cli_precision_test.cpp).
#pragma once

#include "kernels/dtype.h"

namespace eyrie::engine::verify {

enum class Normalise {
  none,       // |x - ref|
  deviation,  // |x - ref| / std(ref)
  largest,    // |x - ref| / max |ref|
  each,       // |x - ref| / |ref|
};

struct Tolerance {
  Normalise normalise = Normalise::none;
  double limit = 0;  // 0 with Normalise::none: the same bits
};

// DeepMind's fp32 outputs (tests/golden/README.md), f32 arithmetic.
inline constexpr Tolerance kGoldenLogits{Normalise::deviation, 2e-4};
inline constexpr Tolerance kGoldenState{Normalise::largest, 1e-4};
inline constexpr Tolerance kGoldenLogDecay{Normalise::each, 1e-3};

// Likewise, where 16-bit weights are multiplied on tensor cores: activations are rounded to 16 bits for every
// product, as DeepMind's own code rounds them when it computes in bf16.
inline constexpr Tolerance kTensorLogits{Normalise::deviation, 5e-2};
inline constexpr Tolerance kTensorState{Normalise::largest, 2e-2};
inline constexpr Tolerance kTensorLogDecay{Normalise::each, 5e-2};

// The same model computed another way: chunking, restoring, interleaving.
inline constexpr Tolerance kSameBits{Normalise::none, 0};
inline constexpr Tolerance kSameLogits{Normalise::deviation, 2e-5};
inline constexpr Tolerance kSameState{Normalise::largest, 2e-5};

// Quantised weights on another backend: both round activations to 16 bits, in groups of their own; on tensor
// cores, where chunks are multiplied, weights and activations to bf16.
inline constexpr Tolerance kQuantisedSteps{Normalise::deviation, 2e-3};
inline constexpr Tolerance kQuantisedChunk{Normalise::deviation, 2e-2};

// One op of the fast kernels against the scalar reference: sums of at most a few hundred f32 terms.
inline constexpr Tolerance kOpElementwise{Normalise::largest, 2e-6};
inline constexpr Tolerance kOpSum{Normalise::largest, 1e-5};
inline constexpr Tolerance kOpSummary{Normalise::each, 2e-5};
inline constexpr Tolerance kOpScan{Normalise::largest, 1e-5};
inline constexpr Tolerance kOpAttention{Normalise::largest, 1e-5};

// One op of the card where it rounds: activations to 16 bits with a scale for each 32 (single tokens,
// quantised weights); weights to bf16 (many tokens, quantised); attention's weights to bf16 (tensor cores).
inline constexpr Tolerance kOpPacked{Normalise::largest, 1e-4};
inline constexpr Tolerance kOpRounded{Normalise::largest, 6e-3};
inline constexpr Tolerance kOpTensorAttention{Normalise::largest, 4e-3};

// What weights stored as a narrower type may cost, of the same weights in f32. Logits of a small random
// model: root mean square of their differences, of their deviation; less than `least` would be for nothing.
// The built-in models on held-out text (tests/bench/RESULTS.md): change of perplexity either way, which
// chance moves; and divergence, KL in nats a token, about twice the most that was measured.
struct StoredTypeTolerance {
  kernels::DType dtype;
  double least;
  double logits;
  double perplexity;
  double divergence;
};
inline constexpr StoredTypeTolerance kStoredTypes[] = {
    {kernels::DType::f16, 1e-6, 2e-3, 1e-4, 4e-7},
    {kernels::DType::bf16, 1e-4, 2e-2, 5e-3, 5e-5},
    {kernels::DType::int8, 1e-3, 5e-2, 1e-2, 6e-3},
    {kernels::DType::int4, 1e-2, 5e-1, 4e-2, 1e-1},
};
// Errors must not pile up in the state: divergence of the later half of a text, of the earlier half's.
inline constexpr double kDivergenceGrowth = 1.2;

}  // namespace eyrie::engine::verify
