#include "kernels/cuda/packed_rows.h"

#include <algorithm>

#include "kernels/thread_pool.h"

namespace eyrie::kernels::cuda {
namespace {

void toRow(const MatrixView& packed, std::int64_t row, std::byte* codes, std::uint16_t* scales) {
  const std::int64_t group = packedGroup(packed.dtype);
  const bool bytes = packed.dtype == DType::int8;
  std::fill_n(codes, packedRowBytes(packed.dtype, packed.cols), bytes ? std::byte{0} : std::byte{0x88});
  for (std::int64_t col = 0; col < packed.cols; ++col) {
    const PackedElement element = packedElement(packed, row, col);
    scales[col / group] = element.scale;
    if (bytes) {
      codes[col] = static_cast<std::byte>(element.code);
      continue;
    }
    std::byte& pair = codes[col / 8 * 4 + col % 4];
    const auto nibble = static_cast<std::byte>(element.code + 8);
    pair = col % 8 < 4 ? (pair & std::byte{0xf0}) | nibble : (pair & std::byte{0x0f}) | nibble << 4;
  }
}

}  // namespace

void toRows(const MatrixView& packed, std::byte* codes, std::uint16_t* scales, ThreadPool& pool) {
  const std::int64_t rowBytes = packedRowBytes(packed.dtype, packed.cols);
  const std::int64_t groups = packedRowGroups(packed.dtype, packed.cols);
  pool.parallelFor(packed.rows, kPackedRows, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row)
      toRow(packed, row, codes + row * rowBytes, scales + row * groups);
  });
}

}  // namespace eyrie::kernels::cuda
