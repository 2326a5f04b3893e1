// What every test of a CUDA op needs beside kernel_test.h: the orders in which the emulator lets threads go
// on. "Device memory" is the test's own, in exactly sized arrays.
#pragma once

#include "kernels/cuda/ops.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/kernels/kernel_test.h"

namespace eyrie::kernels::test {

// Runs body(setup) once an order of threads and blocks.
template <class Body>
void forEachOrder(Body body) {
  using emulator::Order;
  emulator::useOrder(Order::forward);
  body(std::string("forward"));
  emulator::useOrder(Order::backward);
  body(std::string("backward"));
  emulator::useOrder(Order::shuffled, 7);
  body(std::string("shuffled 7"));
  emulator::useOrder(Order::shuffled, 8);
  body(std::string("shuffled 8"));
  emulator::useOrder(Order::forward);
}

}  // namespace eyrie::kernels::test
