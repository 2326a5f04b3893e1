// What every test of a CUDA op needs beside kernel_test.h: the orders in which the emulator lets threads go
// on. "Device memory" is the test's own, in exactly sized arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/ops.h"
#include "tests/cuda_emulator/card.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/kernels/kernel_test.h"

namespace eyrie::kernels::test {

// Runs body(setup) once an order of threads and blocks, the last time on `smallestCard`: the one with the
// least shared memory of those that the op is for.
template <class Body>
void forEachOrder(int smallestCard, Body body) {
  using emulator::Order;
  emulator::useOrder(Order::forward);
  body(std::string("forward"));
  emulator::useOrder(Order::backward);
  body(std::string("backward"));
  emulator::useOrder(Order::shuffled, 7);
  body(std::string("shuffled 7"));
  emulator::useOrder(Order::shuffled, 8);
  emulator::useCapability(smallestCard);
  body("shuffled 8 on sm_" + std::to_string(smallestCard));
  emulator::useCapability(90);
  emulator::useOrder(Order::forward);
}

template <class Body>
void forEachOrder(Body body) {
  forEachOrder(75, body);
}

// Rows of sequences of these lengths, each from a position of its own on.
class TestSequences {
 public:
  TestSequences(const std::vector<std::int64_t>& lengths, const std::vector<std::int64_t>& firstPositions) {
    for (std::size_t n = 0; n < lengths.size(); ++n) {
      owners_.insert(owners_.end(), asSize(lengths[n]), static_cast<std::int32_t>(n));
      for (std::int64_t t = 0; t < lengths[n]; ++t) positions_.push_back(firstPositions[n] + t);
      begins_.push_back(begins_.back() + lengths[n]);
    }
  }

  cuda::SequenceRows rows() const {
    return {begins_.data(), owners_.data(), positions_.data(), std::ssize(begins_) - 1};
  }
  std::int64_t T() const { return begins_.back(); }
  std::int64_t begin(std::size_t n) const { return begins_[n]; }

 private:
  std::vector<std::int64_t> begins_{0};
  std::vector<std::int32_t> owners_;
  std::vector<std::int64_t> positions_;
};

}  // namespace eyrie::kernels::test
