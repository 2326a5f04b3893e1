// What the kernels of kernels/cuda must move and compute at least for RecurrentGemma 2B
// (engine/model_presets.cpp; activations and state f32), and how long an H200 takes for that by its nominal
// figures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/op_cost.h"

namespace eyrie::bench {

using kernels::DType;
using kernels::OpCost;

inline constexpr std::int64_t kD = 2560, kR = 2560, kE = 7680, kV = 256'000, kK = 4;
inline constexpr std::int64_t kG = 10, kB = kR / kG;                       // gate blocks
inline constexpr std::int64_t kH = 10, kKv = 1, kDh = 256, kRotary = 128;  // heads
inline constexpr std::int64_t kOlder = 2048;                               // keys before a query's own
inline constexpr std::int64_t kRanked = 256;  // logits that a step brings back (engine/cuda/cuda_head.cpp)
inline constexpr std::int64_t kChunk = 4096;  // rows at most (engine/cuda/cuda_memory.cpp)

// Nominal, but for tensor cores: 80 % of 989 TFLOP/s, since no product reaches all.
inline constexpr double kBytesASecond = 4.8e12;
inline constexpr double kTensorFlopsASecond = 790e12;
inline constexpr double kPlainFlopsASecond = 67e12;

// What multiplies: tensor cores in 16 bits, or the rest of the card in f32.
enum class Unit : std::uint8_t { plain, tensor };

struct Floor {
  OpCost cost;
  Unit unit = Unit::plain;

  double seconds() const;
  bool isMoving() const;  // bytes take longer than arithmetic
};

// Three digits (or so many), thousands apart.
std::string number(double value, int digits = 3);
std::string microseconds(const Floor& floor);

// Products of `rows` outputs each (any number of matrices) with T rows of x: bytes a value of x and of the
// results.
OpCost products(DType weight, const std::vector<std::int64_t>& rows, std::int64_t cols, std::int64_t T,
                double inBytes = 4, double outBytes = 4);
// Convolution, both gates, RG-LRU and output gate of one token of N sequences; real states, or complex ones.
OpCost recurrentStep(DType gates, std::int64_t N, bool complex);

// Lines of Markdown.
std::vector<std::string> kernelTable();
std::vector<std::string> stepTables();
// Kernels that have a row in the first of them.
std::vector<std::string> kernelsWithRows();

}  // namespace eyrie::bench
