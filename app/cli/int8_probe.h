// The rate of int8 products through oneDNN, which only the bench wants: opened when asked for, so that
// neither building nor starting eyrie-cli needs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/ceilings.h"

namespace eyrie::app {

// u8 (T, cols) x s8 (rows, cols)^T -> s32 of these shapes.
class Int8Probe {
 public:
  virtual ~Int8Probe() = default;
  // Over all shapes, multiply and add counted as two.
  virtual double opsPerSecond() = 0;
};

// Null where there is no oneDNN; `whyNot` then says why.
std::unique_ptr<Int8Probe> openInt8Probe(int threads, std::vector<kernels::cpu::GemmShape> shapes,
                                         std::string& whyNot);

}  // namespace eyrie::app
