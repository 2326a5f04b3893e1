// The card that the emulator is: what differs between those that the kernels are compiled for, as far as a
// launch can be wrong on one and right on another.
#pragma once

#include <cstddef>
#include <string>

namespace eyrie::emulator {

// From now on, for launches that have not begun. At the start: 90.
void useCapability(int capability);
int capability();

// Shared memory that a block can have.
std::size_t mostSharedBytes();
// What is wrong with a block that has more.
std::string tooMuchShared(std::size_t bytes);
// Whether a launch may begin before the one before it has ended.
bool kernelsOverlap();

}  // namespace eyrie::emulator
