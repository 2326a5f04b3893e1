// How long the CPU kernels take within a model: a table of kernels that looks at the clock while one is asked
// for. A kernel is a plain function, so the clock is one for the process; a model computes on one thread.
#pragma once

#include <array>
#include <cstdint>

#include "engine/cpu_ops.h"

namespace eyrie::app {

enum class TimedOp : std::uint8_t {
  linear,
  gates,  // the block-diagonal products
  convolution,
  recurrence,  // RG-LRU, real or complex
  outputGate,  // the activation after the recurrence
  mlpGate,     // the others
  attention,   // with RoPE
  rest,        // norms, embedding, soft cap, statistics
  count
};

using OpSeconds = std::array<double, static_cast<std::size_t>(TimedOp::count)>;

// The fast kernels, timed between startOpClock() and stopOpClock() and else as they are.
const engine::CpuOps& timedOps();
void startOpClock();
OpSeconds stopOpClock();

// While there is one, matrices are multiplied with single tokens by merely reading them, to results of 0:
// what such steps take is not the products' arithmetic.
class ReadInsteadOfMultiplying {
 public:
  ReadInsteadOfMultiplying();
  ~ReadInsteadOfMultiplying();
  ReadInsteadOfMultiplying(const ReadInsteadOfMultiplying&) = delete;
  ReadInsteadOfMultiplying& operator=(const ReadInsteadOfMultiplying&) = delete;
};

}  // namespace eyrie::app
