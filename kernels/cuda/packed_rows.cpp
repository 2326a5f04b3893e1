#include "kernels/cuda/packed_rows.h"

#include <algorithm>

namespace eyrie::kernels::cuda {

void toRows(const MatrixView& packed, std::byte* codes, std::uint16_t* scales) {
  const std::int64_t group = packedGroup(packed.dtype);
  const std::int64_t rowBytes = packedRowBytes(packed.dtype, packed.cols);
  const std::int64_t groups = packedRowGroups(packed.dtype, packed.cols);
  const bool bytes = packed.dtype == DType::int8;
  std::fill_n(codes, packed.rows * rowBytes, bytes ? std::byte{0} : std::byte{0x88});
  for (std::int64_t row = 0; row < packed.rows; ++row) {
    for (std::int64_t col = 0; col < packed.cols; ++col) {
      const PackedElement element = packedElement(packed, row, col);
      scales[row * groups + col / group] = element.scale;
      if (bytes) {
        codes[row * rowBytes + col] = static_cast<std::byte>(element.code);
        continue;
      }
      std::byte& pair = codes[row * rowBytes + col / 8 * 4 + col % 4];
      const auto nibble = static_cast<std::byte>(element.code + 8);
      pair = col % 8 < 4 ? (pair & std::byte{0xf0}) | nibble : (pair & std::byte{0x0f}) | nibble << 4;
    }
  }
}

}  // namespace eyrie::kernels::cuda
