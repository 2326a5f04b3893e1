// What interventions do, against models whose weights or configuration say the same, and against the
// recurrence's own equation.
#pragma once

#include <vector>

#include "engine/model.h"
#include "engine/verify/check.h"

namespace eyrie::engine::verify {

// Each target alone; all of them at once, read in any way; none. On small random models. Ends with rules left
// out, which must be noticed.
std::vector<CheckResult> checkInterventions(BackendKind backend, int threads = 0);

}  // namespace eyrie::engine::verify
