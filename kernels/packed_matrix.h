// Quantised weights in the order in which kernels/cpu/packed_linear.cpp streams them; made once from a stored
// matrix, and written to files as they are, so the layout is part of a contract (kPackedVersion).
//
// Rows are taken 16 at a time (kPackedRows; missing ones are zero), columns in groups of 256 (int8) or 32
// (int4); the last group is as long as what is left, rounded up to 8 columns of zeros. A group is 16 bf16
// scales, one a row, then the weights: weight = q * scale, q in -127..127 or -8..7.
//   int8: for each pair of columns 32 bytes: row r's two at 2r.
//   int4: for each 8 columns 64 bytes: row r's at 4r, two 16-bit words; nibble j (from the low end; q + 8) of
//         the first word is column 2j, of the second 2j + 1.
// That is 8.06 and 4.5 bits a weight. A row of a group that holds an infinity or NaN has the scale NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/tensor_view.h"

namespace eyrie::kernels {

class ThreadPool;

inline constexpr int kPackedVersion = 2;
inline constexpr std::int64_t kPackedRows = 16;
inline constexpr std::int64_t kPackedScaleBytes = kPackedRows * 2;
inline constexpr std::int64_t kPackedColumns = 8;  // a group's length is a multiple of it

// Columns of a group.
constexpr std::int64_t packedGroup(DType dtype) {
  return dtype == DType::int8 ? 256 : 32;
}
constexpr std::int64_t roundUp(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}
// Bytes of `columns` (a multiple of 8) of 16 rows, without scales.
constexpr std::int64_t packedWeightBytes(DType dtype, std::int64_t columns) {
  return columns * kPackedRows * (dtype == DType::int8 ? 2 : 1) / 2;
}
// Bytes of 16 rows of `cols` columns.
constexpr std::int64_t packedBlockBytes(DType dtype, std::int64_t cols) {
  const std::int64_t group = packedGroup(dtype);
  return (cols + group - 1) / group * kPackedScaleBytes +
         packedWeightBytes(dtype, roundUp(cols, kPackedColumns));
}
constexpr std::int64_t packedBytes(DType dtype, std::int64_t rows, std::int64_t cols) {
  return (rows + kPackedRows - 1) / kPackedRows * packedBlockBytes(dtype, cols);
}

// Bytes a matrix of any type takes.
std::int64_t matrixBytes(const MatrixView& matrix);
// One element of a packed matrix: what it stands for is code * scale.
struct PackedElement {
  int code = 0;
  std::uint16_t scale = 0;  // bf16
};
PackedElement packedElement(const MatrixView& matrix, std::int64_t row, std::int64_t col);
// One element of a matrix of any type as f32.
float matrixElement(const MatrixView& matrix, std::int64_t row, std::int64_t col);

namespace reference {
// The specification of quantising: the scale is the smallest bf16 that reaches the row's largest magnitude in
// the group (int8), or that of least squared error for the codes of a scale that maps it to -8 (int4, so its
// sign may be negative); weights round to the nearest.
// `from` is f32, f16 or bf16; `out` has packedBytes(to, rows, cols).
void pack(const MatrixView& from, DType to, std::byte* out);
}  // namespace reference
namespace cpu {
// The same bytes.
void pack(const MatrixView& from, DType to, std::byte* out, ThreadPool& pool);
}  // namespace cpu

}  // namespace eyrie::kernels
