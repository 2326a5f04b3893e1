// Quantised matrices in the order in which a card reads them: the same codes and scales as packed_matrix.h, a
// row after the other, so that a warp reads a row in 16-byte loads. Host code; made once, when weights are
// uploaded.
//   int8: a byte a column, a row padded with zeros to 16 columns.
//   int4: 16 bytes for each 32 columns, four words of 8 columns: byte b of a word holds column b in its low
//   and column
//         4 + b in its high half, 8 added to each so that they are not negative.
// Scales are bf16, (rows, groups) of 256 (int8) or 32 (int4) columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_matrix.h"

namespace eyrie::kernels::cuda {

struct PackedRows {
  const void* codes = nullptr;            // packedRowBytes for each row, 16-byte aligned
  const std::uint16_t* scales = nullptr;  // packedRowGroups for each row
  DType dtype = DType::int8;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

constexpr std::int64_t packedRowBytes(DType dtype, std::int64_t cols) {
  return dtype == DType::int8 ? roundUp(cols, 16) : roundUp(cols, 32) / 2;
}
constexpr std::int64_t packedRowGroups(DType dtype, std::int64_t cols) {
  return (cols + packedGroup(dtype) - 1) / packedGroup(dtype);
}

// From packed_matrix.h's order. `codes` has rows * packedRowBytes, `scales` rows * packedRowGroups.
void toRows(const MatrixView& packed, std::byte* codes, std::uint16_t* scales, ThreadPool& pool);

}  // namespace eyrie::kernels::cuda
