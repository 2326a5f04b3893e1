// Writes a checkpoint of random weights in Hugging Face layout: the same preset and seed, the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>

#include "engine/config.h"
#include "kernels/dtype.h"

namespace eyrie::app {

struct WrittenModel {
  std::int64_t parameters = 0;
  std::uint64_t bytes = 0;  // of model.safetensors
};

// config.json and model.safetensors in `folder` (made where missing). Initialised as DeepMind's code does:
// the gates' decays spread over radii 0.9 to 0.999, so that states stay alive. Memory stays at a few
// megabytes. Throws Error: badArgument where the folder holds a model already, ioFailed, cancelled.
WrittenModel writeRandomModel(const std::filesystem::path& folder, const engine::ModelConfig& config,
                              kernels::DType dtype, std::uint64_t seed, std::stop_token stop);

}  // namespace eyrie::app
