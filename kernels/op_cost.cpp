#include "kernels/op_cost.h"

#include <algorithm>

#include "kernels/packed_matrix.h"

namespace eyrie::kernels {
namespace {

constexpr double kF32 = 4;

double real(std::int64_t count) {
  return static_cast<double>(count);
}

// Keys each query sees, summed over the chunk's queries.
double visiblePairs(const AttentionArgs& args) {
  double pairs = 0;
  for (std::int64_t t = 0; t < args.T; ++t) pairs += real(std::min(args.older, args.firstPosition + t) + 1);
  return pairs;
}

}  // namespace

OpCost opCost(const RmsNormArgs& args) {
  const double elements = real(args.T) * real(args.D);
  return {kF32 * (2 * elements + real(args.D)), 4 * elements};
}

OpCost opCost(const LinearArgs& args) {
  const double rows = real(args.weight.rows);
  const double cols = real(args.weight.cols);
  const auto weightBytes = static_cast<double>(matrixBytes(args.weight));
  const double biasBytes = args.bias == nullptr ? 0 : kF32 * rows;
  return {weightBytes + biasBytes + kF32 * real(args.T) * (rows + cols), 2 * real(args.T) * rows * cols};
}

OpCost opCost(const BlockLinearArgs& args) {
  const double inputs = real(args.G) * real(args.B);
  const double outputs = real(args.G) * real(args.weight.cols);
  const double products = inputs * real(args.weight.cols);
  const double weightBytes = products * static_cast<double>(dtypeSize(args.weight.dtype));
  const double biasBytes = args.bias == nullptr ? 0 : kF32 * outputs;
  return {weightBytes + biasBytes + kF32 * real(args.T) * (inputs + outputs), 2 * real(args.T) * products};
}

OpCost opCost(const Conv1dArgs& args) {
  const double elements = real(args.T) * real(args.R);
  const double parameters = real(args.K + 1) * real(args.R);
  const double tail = 2 * real(args.K - 1) * real(args.R);
  return {kF32 * (2 * elements + parameters + tail), 2 * elements * real(args.K)};
}

// Three inputs, one output; four transcendental functions are counted as one FLOP each.
OpCost opCost(const RgLruArgs& args) {
  const double elements = real(args.T) * real(args.R);
  const RgLruTaps& taps = args.taps;
  double arrays = 4;
  for (const float* tap :
       {taps.recurrenceGate, taps.inputGate, taps.logDecay, taps.decay, taps.write, taps.keep}) {
    if (tap != nullptr) ++arrays;
  }
  return {kF32 * (arrays * elements + 3 * real(args.R)), 12 * elements};
}

// Two gates, input and output of two parts; six transcendental functions are counted as one FLOP each.
OpCost opCost(const ComplexRgLruArgs& args) {
  const double channels = real(args.T) * real(args.C);
  const ComplexRgLruTaps& taps = args.taps;
  double arrays = 6;
  for (const float* tap : {taps.recurrenceGate, taps.inputGate, taps.logDecay, taps.decay, taps.angle}) {
    if (tap != nullptr) ++arrays;
  }
  for (const float* tap : {taps.write, taps.keep}) {
    if (tap != nullptr) arrays += 2;
  }
  return {kF32 * (arrays * channels + 6 * real(args.C)), 25 * channels};
}

OpCost opCost(const AttentionArgs& args) {
  const double queryElements = real(args.T) * real(args.H) * real(args.Dh);
  const double keys = real(std::min(args.older, args.firstPosition) + args.T);
  const double keyElements = keys * real(args.kvHeads) * real(args.Dh);
  const double taps = args.weights == nullptr ? 0 : real(args.T) * real(args.H) * real(args.span);
  return {kF32 * (2 * queryElements + 2 * keyElements + taps),
          4 * visiblePairs(args) * real(args.H) * real(args.Dh)};
}

OpCost opCost(const GatedActivationArgs& args) {
  return {kF32 * 3 * real(args.n), 8 * real(args.n)};
}

OpCost opCost(const EmbedArgs& args) {
  const double elements = real(args.T) * real(args.table.cols);
  return {elements * (static_cast<double>(dtypeSize(args.table.dtype)) + kF32), elements};
}

}  // namespace eyrie::kernels
