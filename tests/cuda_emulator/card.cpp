#include "tests/cuda_emulator/card.h"

#include <fmt/core.h>

namespace eyrie::emulator {
namespace {

constexpr int kFirstThatOverlaps = 90;  // as in kernels/cuda/device_code.h

int capabilityInUse = 90;

}  // namespace

void useCapability(int capability) {
  capabilityInUse = capability;
}

int capability() {
  return capabilityInUse;
}

// The table of technical specifications in CUDA's programming guide.
std::size_t mostSharedBytes() {
  constexpr std::size_t kKiB = 1024;
  switch (capabilityInUse) {
    case 75:
      return 64 * kKiB;
    case 80:
      return 163 * kKiB;
    case 86:
    case 89:
    case 120:
      return 99 * kKiB;
    default:
      return 227 * kKiB;
  }
}

std::string tooMuchShared(std::size_t bytes) {
  return fmt::format("a block with {} bytes of shared memory, of which a card of {}.{} has {}", bytes,
                     capabilityInUse / 10, capabilityInUse % 10, mostSharedBytes());
}

bool kernelsOverlap() {
  return capabilityInUse >= kFirstThatOverlaps;
}

}  // namespace eyrie::emulator
