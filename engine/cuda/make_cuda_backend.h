// The CUDA backend, where this build has one.
#pragma once

#include <memory>

#include "engine/backend.h"
#include "engine/weights.h"

namespace eyrie::engine {

// On the first card that runs our code; the host's copy of the weights is not needed afterwards. Throws
// Error(unsupported) where there is no such card, with the reason; Error(outOfMemory) with the bytes needed
// and free; Error(deviceFailed).
std::unique_ptr<Backend> makeCudaBackend(const Weights& weights);

}  // namespace eyrie::engine
