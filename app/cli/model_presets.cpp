#include "app/cli/model_presets.h"

namespace eyrie::app {
namespace {

using engine::BlockKind;
using engine::ModelConfig;

std::vector<BlockKind> repeated(const std::vector<BlockKind>& pattern, std::int64_t L) {
  std::vector<BlockKind> blocks;
  for (std::int64_t i = 0; i < L; ++i)
    blocks.push_back(pattern[static_cast<std::size_t>(i) % pattern.size()]);
  return blocks;
}

// "griffin": two recurrent layers, then local attention; "hawk": recurrent only; "mqa": global attention
// only.
std::vector<BlockKind> blocksOf(const std::string& family, std::int64_t L) {
  if (family == "hawk") return repeated({BlockKind::recurrent}, L);
  if (family == "mqa") return repeated({BlockKind::globalAttention}, L);
  return repeated({BlockKind::recurrent, BlockKind::recurrent, BlockKind::localAttention}, L);
}

struct Size {
  const char* name;
  std::int64_t D, R, L, H;
};

ModelConfig configOf(const std::string& family, const Size& size, std::int64_t V, std::int64_t W) {
  ModelConfig config;
  config.D = size.D;
  config.R = size.R;
  config.E = 3 * size.D;
  config.L = size.L;
  config.H = size.H;
  config.Dh = size.D / size.H;
  config.rotary = config.Dh / 2;
  config.V = V;
  config.W = W;
  config.gateBlocks = family == "mqa" ? 0 : size.H;
  config.blocks = blocksOf(family, size.L);
  return config;
}

// RecurrentGemma: scaled embedding, soft cap.
ModelPreset released(const Size& size) {
  return {size.name, "bf16", configOf("griffin", size, 256000, 2048)};
}

// The paper's models: neither scale nor cap.
ModelPreset published(const std::string& name, const std::string& family, const Size& size,
                      std::int64_t gateBlocks) {
  ModelPreset preset{name, "bf16", configOf(family, size, 256000, 1024)};
  preset.config.scaleEmbedding = false;
  preset.config.logitsSoftCap = 0;
  if (family != "mqa") preset.config.gateBlocks = gateBlocks;
  return preset;
}

std::vector<ModelPreset> makePresets() {
  constexpr Size kTable[] = {{"100m", 768, 1024, 12, 6},   {"200m", 1024, 1536, 12, 8},
                             {"400m", 1536, 2048, 12, 12}, {"1.3b", 2048, 2560, 24, 16},
                             {"3b", 3072, 4096, 24, 24},   {"7b", 4096, 5632, 32, 32},
                             {"14b", 5120, 8192, 40, 40}};
  constexpr Size kSeven = {"7b", 4096, 5632, 32, 32};
  constexpr Size kTiny = {"tiny", 64, 80, 6, 4};
  std::vector<ModelPreset> presets = {released({"recurrentgemma-2b", 2560, 2560, 26, 10}),
                                      released({"recurrentgemma-9b", 4096, 4096, 38, 16}),
                                      published("griffin-paper-7b", "griffin", kSeven, kSeven.H),
                                      published("hawk-paper-7b", "hawk", kSeven, kSeven.H)};
  for (const std::string family : {"griffin", "hawk", "mqa"}) {
    for (const Size& size : kTable) {
      presets.push_back(published(family + "-" + size.name, family, size, 16));
    }
    presets.push_back({"tiny-" + family, "f32", configOf(family, kTiny, 256, 16)});
  }
  return presets;
}

}  // namespace

const std::vector<ModelPreset>& modelPresets() {
  static const std::vector<ModelPreset> presets = makePresets();
  return presets;
}

}  // namespace eyrie::app
