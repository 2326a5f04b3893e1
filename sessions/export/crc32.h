// The checksum of ZIP files, continued piece by piece: start with 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace eyrie::sessions {

std::uint32_t crc32(std::uint32_t before, const void* data, std::size_t bytes);

}  // namespace eyrie::sessions
