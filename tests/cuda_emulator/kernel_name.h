#pragma once

#include <string>

namespace eyrie::emulator {

// What a kernel is called in its source, without namespaces and what a template is given. Read from the
// program's own symbols, where kernels that no other file knows are too.
std::string kernelName(const void* function);

}  // namespace eyrie::emulator
