// One op of kernels/cuda at one shape, and what it should give: what card_ops.cpp runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/verify/card_memory.h"
#include "engine/verify/tolerances.h"
#include "kernels/cuda/ops.h"
#include "kernels/op_cost.h"

namespace eyrie::engine::verify {

struct CardShape {
  std::int64_t T = 0;  // rows of a chunk
  std::int64_t N = 0;  // sequences of a step
  std::int64_t D = 0, R = 0, G = 0, H = 0, kvHeads = 0, Dh = 0, E = 0, V = 0;
  std::int64_t K = 4;
  std::int64_t older = 0;     // keys of a window before a token's own
  std::int64_t position = 0;  // of the first row

  std::int64_t rotary() const { return Dh / 4 * 2; }
};

struct CardCase {
  std::string name;
  Tolerance tolerance;
  std::function<void(kernels::cuda::Stream)> enqueue;  // any number of times
  std::function<Values()> found;                       // after the first time: what it wrote
  std::function<Values()> expected;                    // by the reference
  kernels::OpCost cost;
};

// Makes a case in `memory`, which outlives it; `broken`: with an argument that must show.
using MakeCase = std::function<CardCase(CardMemory& memory, const CardShape& shape, bool broken)>;

// With `all` in every type and form, otherwise once each: products with weights; other ops of single tokens
// of several sequences; what a step shows; the head; other ops of chunks, `tensorCores`: those too that need
// a card from sm_80 on.
std::vector<MakeCase> cardProductCases(bool all);
std::vector<MakeCase> cardStepCases(bool all);
std::vector<MakeCase> cardTapCases();
std::vector<MakeCase> cardHeadCases();
std::vector<MakeCase> cardChunkCases(bool all, bool tensorCores);

// ---- what cases are made of ----

inline constexpr float kNormEps = 1e-6F;

inline std::size_t asSize(std::int64_t n) {
  return static_cast<std::size_t>(n);
}
// x RMS-normed, as far as the reference goes.
Values normed(const Twin<float>& x, const Twin<float>& weight, std::int64_t T);
// x W^T + b by the reference.
Values product(const float* x, const kernels::MatrixView& weight, const float* bias, std::int64_t T);
// What several arrays on the card hold, one after the other.
std::function<Values()> reader(std::vector<Twin<float>> arrays);
kernels::OpCost sum(std::initializer_list<kernels::OpCost> costs);
Values joined(std::initializer_list<Values> parts);

}  // namespace eyrie::engine::verify
