// What calls of the runtime have in common: they fail on a lost device, and some while a graph is captured.
#pragma once

#include <cstddef>

namespace eyrie::emulator {

// Throw CudaError with what the call is for, as `check` in kernels/cuda/launch.h does.
void checkDevice(const char* what);
void checkNothingIsCaptured(const char* what);
// For what cannot throw: the capture does, at its end.
void spoilCapture(const char* what);

// Work whose faults nobody asks about any more.
void finishQuietly();

// Host memory that a captured copy may use.
void pin(const std::byte* memory, std::size_t bytes);
void unpin(const std::byte* memory);
bool isPinned(const void* memory, std::size_t bytes);

}  // namespace eyrie::emulator
