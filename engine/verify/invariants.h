// The five invariants of DESIGN §4 on small random models, per layer kind.
#pragma once

#include <vector>

#include "engine/model.h"
#include "engine/verify/check.h"

namespace eyrie::engine::verify {

// Prefill = steps; any chunking; save, restore, continue; two sequences interleaved; position 0 and the
// window's wrap. The reference backend must give the same bits, others stay within the table. Ends with
// broken variants.
std::vector<CheckResult> checkInvariants(BackendKind backend, int threads = 0);

}  // namespace eyrie::engine::verify
