// Every op of the fast CPU kernels against the scalar reference, on random inputs.
#pragma once

#include <vector>

#include "engine/verify/check.h"

namespace eyrie::engine::verify {

// Each op at several shapes, and with one argument wrong, which its tolerance must reject.
std::vector<CheckResult> checkOpParity(int threads = 0);

}  // namespace eyrie::engine::verify
