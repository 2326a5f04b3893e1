// What chats and batches go through and single sequences' logits do not show.
#pragma once

#include <vector>

#include "engine/model.h"
#include "engine/verify/check.h"

namespace eyrie::engine::verify {

// Of small random models: what predict() ranks is what stands foremost among all logits; several sequences
// together, a token or a chunk of each, are as each alone; quantised weights give what they give on the CPU,
// and there what they give the reference. With broken variants.
std::vector<CheckResult> checkServing(BackendKind backend, int threads = 0);

}  // namespace eyrie::engine::verify
