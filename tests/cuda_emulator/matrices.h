// A warp's loads and products of small matrices of 16-bit elements, PTX's ldmatrix and mma.m16n8k16: which
// element lies in which lane is part of their contract. With group = lane / 4 and pair = 2 (lane % 4):
//   a loaded 8x8 matrix     row group, columns pair and pair + 1 (low and high half); transposed: row and
//                           column swapped
//   left (16, 16)           [0] row group, [1] row group + 8, columns pair..; [2], [3] the same, columns 8 +
//   pair.. right (16, 8)           [0] rows pair.., [1] rows 8 + pair.., column group sums (16, 8) [0], [1]
//   row group, [2], [3] row group + 8, columns pair..
#pragma once

#include <type_traits>

#include "tests/cuda_emulator/intrinsics.h"

namespace eyrie::emulator {

// Half `high` of a register.
inline std::uint16_t halfOf(unsigned bits, unsigned high) {
  return static_cast<std::uint16_t>(bits >> 16 * high);
}

template <class T>
float elementOf(unsigned bits, unsigned high) {
  const T stored{halfOf(bits, high)};
  if constexpr (std::is_same_v<T, __half>) return __half2float(stored);
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return __bfloat162float(stored);
}

struct Matrices {
  const std::uint16_t* row;  // lane l: row l % 8 of matrix l / 8
  unsigned to[4];
};

template <bool kTransposed>
void loadMatrices(unsigned, const LanePointers& lanes) {
  const auto of = [&](unsigned lane) -> Matrices& { return *static_cast<Matrices*>(lanes[lane]); };
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned m = 0; m < 4; ++m) {
      unsigned halves[2];
      for (unsigned high = 0; high < 2; ++high) {
        const unsigned group = lane / 4;
        const unsigned pair = 2 * (lane % 4) + high;
        halves[high] = kTransposed ? of(8 * m + pair).row[group] : of(8 * m + group).row[pair];
      }
      of(lane).to[m] = halves[0] | halves[1] << 16;
    }
  }
}

struct Multiplied {
  const unsigned* left;  // 4
  unsigned right[2];
  float* sums;  // 4
};

// Products of 16-bit values are exact in f32.
template <class T>
void multiplyMatrices(unsigned, const LanePointers& lanes) {
  const auto of = [&](unsigned lane) -> Multiplied& { return *static_cast<Multiplied*>(lanes[lane]); };
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned col = 0; col < 8; ++col) {
      float& sum = of(row % 8 * 4 + col / 2).sums[row / 8 * 2 + col % 2];
      for (unsigned k = 0; k < 16; ++k) {
        const unsigned left = of(row % 8 * 4 + k % 8 / 2).left[k / 8 * 2 + row / 8];
        const unsigned right = of(col * 4 + k % 8 / 2).right[k / 8];
        sum += elementOf<T>(left, k % 2) * elementOf<T>(right, k % 2);
      }
    }
  }
}

}  // namespace eyrie::emulator

namespace eyrie::kernels::cuda {

template <bool kTransposed>
void loadMatrices(unsigned (&to)[4], const void* row, emulator::Where where = emulator::Where::current()) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    emulator::fail("ldmatrix: a row is not 16-byte aligned");
  emulator::Matrices mine{static_cast<const std::uint16_t*>(row), {}};
  emulator::meet(0xffffffffU, &mine, emulator::loadMatrices<kTransposed>, where);
  std::memcpy(to, mine.to, sizeof to);
}

template <class T>
void multiplyMatrices(float* sums, const unsigned (&left)[4], unsigned right0, unsigned right1,
                      emulator::Where where = emulator::Where::current()) {
  emulator::Multiplied mine{left, {right0, right1}, sums};
  emulator::meet(0xffffffffU, &mine, emulator::multiplyMatrices<T>, where);
}

}  // namespace eyrie::kernels::cuda
