// safetensors: every tensor of an accepted file lies inside it, and all of them cover it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "engine/checkpoint/safetensors.h"
#include "engine/error.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    const SafetensorsFile file = parseSafetensors(bytes, size, "fuzz.safetensors");
    std::uint64_t covered = 0;
    unsigned sum = 0;
    for (const SafetensorsTensor& tensor : file.tensors) {
      covered += tensor.bytes;
      if (tensor.data == nullptr) std::abort();
      const auto* at = static_cast<const unsigned char*>(tensor.data);
      for (std::uint64_t i = 0; i < tensor.bytes; ++i) sum += at[i];
    }
    if (covered >= size || sum == 0xffffffffU) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
