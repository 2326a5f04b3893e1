// Models with random weights in Hugging Face layout, for benchmarks and tests (`eyrie-cli make-model`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/config.h"
#include "kernels/dtype.h"

namespace eyrie::engine {

// Names of every preset: the released RecurrentGemmas, the paper's sizes, tiny ones.
std::vector<std::string> modelPresets();
// gateBlocks is set. Throws Error(badArgument) listing the presets.
ModelConfig presetConfig(const std::string& name);

struct MakeModelOptions {
  std::uint64_t seed = 0;
  kernels::DType dtype = kernels::DType::bf16;
  int threads = 0;                                // 0 = all cores
  std::uint64_t shardBytes = 5'000'000'000;       // a checkpoint above this is split, with an index
  std::function<void(double fraction)> progress;  // 0..1, on the calling thread
  std::stop_token stop;                           // throws Error(cancelled)
};

// Bytes of the weights alone.
std::uint64_t modelBytes(const ModelConfig& config, kernels::DType dtype);

// Writes config.json and the shards into `folder`, which must not exist or be empty; whatever fails, no part
// of it is left. The same configuration, dtype and seed give the same bytes, whatever the threads. Weights
// are drawn as DeepMind's initialisers draw them (decays at full gate uniform in squared radius on [0.9,
// 0.999]), but norms and biases get a little noise instead of zeros, so that a test sees one that is left
// out. Throws Error(badArgument) for a folder that is not empty, Error(ioFailed) where the disk has not
// enough room.
void makeModel(const ModelConfig& config, const std::filesystem::path& folder,
               const MakeModelOptions& options = {});

}  // namespace eyrie::engine
