// Every op of kernels/cuda on the card that the process uses, alone: against the scalar reference, and
// against the clock. Throw Error(unsupported) where there is no card, Error(deviceFailed) where it fails.
#pragma once

#include <string>
#include <vector>

#include "engine/verify/check.h"
#include "kernels/cuda/matmul.h"
#include "kernels/op_cost.h"
#include "kernels/tensor_view.h"

namespace eyrie::engine::verify {

// Each op at small odd shapes, and with one argument wrong, which its tolerance must reject.
std::vector<CheckResult> checkCardOps();

struct CardTime {
  std::string name;
  double seconds = 0;  // of one launch among many, median
  kernels::OpCost cost;
};
// Each op once in the type that most checkpoints have, at the widths of RecurrentGemma 9B, and so many copies
// in turns that what it reads does not stay in the card's cache; `divisor` makes widths and lengths smaller,
// for those who only try it out.
std::vector<CardTime> timeCardOps(std::int64_t divisor = 1);

struct CardCrossover {
  static constexpr std::int64_t kMostRows = 128;
  std::string backend;                       // as CudaBackend::name() has it
  kernels::cuda::MatmulCrossover estimated;  // without a measurement
  kernels::cuda::MatmulCrossover measured;   // kMostRows + 1: up to kMostRows, tensor cores never were faster
};
// Of each type of weights, on a matrix as above.
CardCrossover measureCrossover(std::int64_t divisor = 1);

}  // namespace eyrie::engine::verify
