#include "sessions/export/crc32.h"

#include <array>
#include <cstring>

namespace eyrie::sessions {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// Eight tables: eight bytes a step, several times the speed of the plain loop.
constexpr Tables makeTables() {
  Tables tables{};
  for (std::uint32_t n = 0; n < 256; ++n) {
    std::uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? 0xEDB88320U ^ (c >> 1) : c >> 1;
    tables[0][n] = c;
  }
  for (std::uint32_t n = 0; n < 256; ++n) {
    for (std::size_t t = 1; t < 8; ++t) {
      tables[t][n] = tables[t - 1][n] >> 8 ^ tables[0][tables[t - 1][n] & 255U];
    }
  }
  return tables;
}

constexpr Tables kTables = makeTables();

}  // namespace

std::uint32_t crc32(std::uint32_t before, const void* data, std::size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(data);
  std::uint32_t c = ~before;
  for (; bytes >= 8; bytes -= 8, at += 8) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + 4, 4);
    low ^= c;
    c = kTables[7][low & 255U] ^ kTables[6][low >> 8 & 255U] ^ kTables[5][low >> 16 & 255U] ^
        kTables[4][low >> 24] ^ kTables[3][high & 255U] ^ kTables[2][high >> 8 & 255U] ^
        kTables[1][high >> 16 & 255U] ^ kTables[0][high >> 24];
  }
  for (; bytes > 0; --bytes, ++at) c = kTables[0][(c ^ *at) & 255U] ^ c >> 8;
  return ~c;
}

}  // namespace eyrie::sessions
