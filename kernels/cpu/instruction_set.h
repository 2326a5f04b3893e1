// Which vector instruction sets the CPU kernels were compiled for and this machine has.
#pragma once

#include <string>
#include <vector>

namespace eyrie::kernels::cpu {

// Names, best first ("AVX2", "SSE4", ...); the first is in use unless a test chose another.
std::vector<std::string> instructionSets();

// For tests: from now on use the named set of instructionSets(); an empty name returns to the best.
void useInstructionSet(const std::string& name);

}  // namespace eyrie::kernels::cpu
