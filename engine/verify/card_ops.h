// Every op of kernels/cuda on the card that the process uses, alone: against the scalar reference, and
// against the clock. Throw Error(unsupported) where there is no card, Error(deviceFailed) where it fails.
#pragma once

#include <string>
#include <vector>

#include "engine/verify/check.h"
#include "kernels/op_cost.h"
#include "kernels/tensor_view.h"

namespace eyrie::engine::verify {

// Each op at small odd shapes, and with one argument wrong, which its tolerance must reject.
std::vector<CheckResult> checkCardOps();

struct CardTime {
  std::string name;
  double seconds = 0;  // of one launch among many
  kernels::OpCost cost;
};
// Each op once in the type that most checkpoints have, at the widths of RecurrentGemma 9B, so that its
// weights do not stay in the card's cache; `divisor` makes widths and lengths smaller, for those who only try
// it out.
std::vector<CardTime> timeCardOps(std::int64_t divisor = 1);

struct CardCrossover {
  kernels::DType dtype = kernels::DType::bf16;
  std::int64_t measured = 0;  // rows from which on tensor cores were faster; 0: up to 128 they never were
  std::int64_t used = 0;      // rows from which on the backend takes them
};
// Of each type of weights, on a matrix as above.
std::vector<CardCrossover> measureCrossovers(std::int64_t divisor = 1);

}  // namespace eyrie::engine::verify
