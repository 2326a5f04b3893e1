// Sizes that papers and released checkpoints have, and tiny ones for tests.
#pragma once

#include <string>
#include <vector>

#include "engine/config.h"

namespace eyrie::app {

struct ModelPreset {
  std::string name;
  std::string dtype;  // "bf16" or "f32": how the weights are stored
  engine::ModelConfig config;
};

// recurrentgemma-2b, -9b; griffin-paper-7b, hawk-paper-7b (DeepMind's code); griffin|hawk|mqa-100m … -14b
// (the paper's table 2); tiny-griffin, tiny-hawk, tiny-mqa.
const std::vector<ModelPreset>& modelPresets();

}  // namespace eyrie::app
