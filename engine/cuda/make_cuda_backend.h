// The CUDA backend, where this build has one.
#pragma once

#include <filesystem>
#include <memory>

#include "engine/backend.h"
#include "engine/weights.h"

namespace eyrie::engine {

// On the first card that runs our code; the host's copy of the weights is not needed afterwards. The
// products' crossovers are those kept in the user's cache folder (kept_crossovers.h), if it is given. Without
// `graphs` a step's kernels are launched one by one, with the same bits. Throws
// Error(unsupported) where there is no such card, with the reason; Error(outOfMemory) with the bytes needed
// and free; Error(deviceFailed).
std::unique_ptr<Backend> makeCudaBackend(const Weights& weights,
                                         const std::filesystem::path& cacheFolder = {}, bool graphs = true);

}  // namespace eyrie::engine
