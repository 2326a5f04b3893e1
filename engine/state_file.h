// A sequence's state as a safetensors file with the names and layouts of tests/golden/README.md.
#pragma once

#include <filesystem>

#include "engine/sequence_state.h"

namespace eyrie::app {

// layers.{i}.rg_lru.h (R), layers.{i}.conv_1d.tail (K-1, R), layers.{i}.attention.keys and .values
// (n, KV heads, head size), all f32, oldest first; metadata `position`. Throws Error(ioFailed).
void writeStateFile(const std::filesystem::path& file, const engine::HostState& state,
                    const engine::ModelConfig& config);

}  // namespace eyrie::app
