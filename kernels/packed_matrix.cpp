#include "kernels/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/cpu/pack_matrix.h"

namespace eyrie::kernels {
namespace {

// Where column `col` of a block lies: its group's start and the column within.
struct GroupAt {
  std::int64_t offset = 0;
  std::int64_t column = 0;
};

GroupAt groupAt(DType dtype, std::int64_t col) {
  const std::int64_t group = packedGroup(dtype);
  const std::int64_t stride = kPackedScaleBytes + packedWeightBytes(dtype, group);
  return {col / group * stride, col % group};
}

int quantised(const unsigned char* weights, DType dtype, std::int64_t row, std::int64_t column) {
  if (dtype == DType::int8) {
    return static_cast<signed char>(weights[column / 2 * 2 * kPackedRows + 2 * row + column % 2]);
  }
  const unsigned char* word = weights + column / 8 * 4 * kPackedRows + 4 * row + 2 * (column % 2);
  const int bits = word[0] | word[1] << 8;
  return (bits >> (column % 8 / 2 * 4) & 0xf) - 8;
}

}  // namespace

std::int64_t matrixBytes(const MatrixView& matrix) {
  if (isPacked(matrix.dtype)) return packedBytes(matrix.dtype, matrix.rows, matrix.cols);
  return matrix.rows * matrix.cols * static_cast<std::int64_t>(dtypeSize(matrix.dtype));
}

PackedElement packedElement(const MatrixView& matrix, std::int64_t row, std::int64_t col) {
  const GroupAt at = groupAt(matrix.dtype, col);
  const auto* group = static_cast<const unsigned char*>(matrix.data) +
                      row / kPackedRows * packedBlockBytes(matrix.dtype, matrix.cols) + at.offset;
  PackedElement element;
  std::memcpy(&element.scale, group + 2 * (row % kPackedRows), sizeof element.scale);
  element.code = quantised(group + kPackedScaleBytes, matrix.dtype, row % kPackedRows, at.column);
  return element;
}

float matrixElement(const MatrixView& matrix, std::int64_t row, std::int64_t col) {
  if (!isPacked(matrix.dtype)) {
    return loadAsFloat(matrix.data, matrix.dtype, static_cast<std::size_t>(row * matrix.cols + col));
  }
  const PackedElement element = packedElement(matrix, row, col);
  return bf16ToFloat(element.scale) * static_cast<float>(element.code);
}

namespace reference {
namespace {

float codeOf(DType to, float scaled) {
  return to == DType::int8 ? std::clamp(std::nearbyint(scaled), -127.0F, 127.0F)
                           : std::clamp(std::nearbyint(scaled), -8.0F, 7.0F);
}

cpu::GroupScale scaleOf(DType to, std::span<const float> values) {
  float extreme = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) return cpu::groupScale(to, NAN);
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  if (to == DType::int8 || cpu::groupScale(to, extreme).inverse == 0) return cpu::groupScale(to, extreme);
  cpu::Fit fit;
  for (const float value : values) {
    const float units = std::nearbyint(value * (-cpu::kFitUnits / extreme));
    const float code = codeOf(to, units * (8.0F / cpu::kFitUnits));
    fit.valueCodes += units * code;
    fit.codeCodes += code * code;
  }
  return cpu::fittedScale(extreme, fit);
}

void packGroup(const MatrixView& from, DType to, std::int64_t firstRow, std::int64_t firstCol,
               std::byte* out) {
  const std::int64_t count = std::min(packedGroup(to), from.cols - firstCol);
  std::vector<signed char> codes(static_cast<std::size_t>(kPackedRows * packedGroup(to)));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t r = 0; r < std::min(kPackedRows, from.rows - firstRow); ++r) {
    for (std::int64_t c = 0; c < count; ++c) {
      values[static_cast<std::size_t>(c)] = matrixElement(from, firstRow + r, firstCol + c);
    }
    const cpu::GroupScale scale = scaleOf(to, values);
    std::memcpy(out + 2 * r, &scale.bits, sizeof scale.bits);
    for (std::int64_t c = 0; c < count && scale.inverse != 0; ++c) {
      codes[static_cast<std::size_t>(r * packedGroup(to) + c)] =
          static_cast<signed char>(codeOf(to, values[static_cast<std::size_t>(c)] * scale.inverse));
    }
  }
  cpu::interleaveCodes(to, codes.data(), packedGroup(to), roundUp(count, kPackedColumns),
                       out + kPackedScaleBytes);
}

}  // namespace

void pack(const MatrixView& from, DType to, std::byte* out) {
  std::memset(out, 0, static_cast<std::size_t>(packedBytes(to, from.rows, from.cols)));
  for (std::int64_t row = 0; row < from.rows; row += kPackedRows) {
    std::byte* block = out + row / kPackedRows * packedBlockBytes(to, from.cols);
    for (std::int64_t col = 0; col < from.cols; col += packedGroup(to)) {
      packGroup(from, to, row, col, block + groupAt(to, col).offset);
    }
  }
}

}  // namespace reference
}  // namespace eyrie::kernels
