#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "engine/error.h"
#include "engine/make_model.h"

namespace eyrie::engine {
namespace {

enum class Pattern : std::uint8_t { griffin, hawk, mqa };

std::vector<BlockKind> blocksOf(Pattern pattern, std::int64_t layers) {
  std::vector<BlockKind> blocks(static_cast<std::size_t>(layers), BlockKind::recurrent);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (pattern == Pattern::griffin && i % 3 == 2) blocks[i] = BlockKind::localAttention;
    if (pattern == Pattern::mqa) blocks[i] = BlockKind::globalAttention;
  }
  return blocks;
}

struct Sizes {
  std::int64_t D, R, E, L, H, V, W, gateBlocks;
};

ModelConfig build(const Sizes& sizes, Pattern pattern) {
  ModelConfig config;
  config.D = sizes.D;
  config.R = sizes.R;
  config.E = sizes.E;
  config.L = sizes.L;
  config.H = sizes.H;
  config.Dh = sizes.D / sizes.H;
  config.V = sizes.V;
  config.W = sizes.W;
  config.rotary = config.Dh / 2;
  config.blocks = blocksOf(pattern, sizes.L);
  config.gateBlocks = pattern == Pattern::mqa ? 0 : sizes.gateBlocks;
  return config;
}

// The paper's models scale no embedding and cap no logits.
ModelConfig paper(const Sizes& sizes, Pattern pattern) {
  ModelConfig config = build(sizes, pattern);
  config.scaleEmbedding = false;
  config.logitsSoftCap = 0;
  return config;
}

constexpr std::int64_t kVocabulary = 256'000;

// The paper's table of sizes, shared by its three kinds of model; 16 gate blocks, MLP three times the width.
struct PaperSize {
  const char* name;
  std::int64_t D, R, L, H;
};
constexpr std::array<PaperSize, 7> kPaperSizes = {{{"100m", 768, 1024, 12, 6},
                                                   {"200m", 1024, 1536, 12, 8},
                                                   {"400m", 1536, 2048, 12, 12},
                                                   {"1.3b", 2048, 2560, 24, 16},
                                                   {"3b", 3072, 4096, 24, 24},
                                                   {"7b", 4096, 5632, 32, 32},
                                                   {"14b", 5120, 8192, 40, 40}}};
constexpr std::array<std::pair<const char*, Pattern>, 3> kKinds = {
    {{"griffin", Pattern::griffin}, {"hawk", Pattern::hawk}, {"mqa", Pattern::mqa}}};

struct Preset {
  std::string name;
  ModelConfig config;
};

// Odd on purpose, as the golden sets are: R is not D, gate blocks are not heads, E is not 3 D.
std::vector<Preset> tinyPresets() {
  const Sizes sizes{64, 80, 100, 6, 4, 256, 16, 5};
  ModelConfig grouped = build({64, 96, 100, 3, 4, 256, 16, 8}, Pattern::griffin);
  grouped.kvHeads = 2;
  grouped.activation = kernels::Activation::silu;
  ModelConfig complex = build(sizes, Pattern::griffin);
  complex.rgLru = RgLru::complex;
  return {{"tiny-griffin", build(sizes, Pattern::griffin)},
          {"tiny-griffin-complex", complex},
          {"tiny-hawk", build(sizes, Pattern::hawk)},
          {"tiny-mqa", build(sizes, Pattern::mqa)},
          {"tiny-grouped", grouped}};
}

std::vector<Preset> allPresets() {
  std::vector<Preset> presets;
  presets.push_back(
      {"recurrentgemma-2b", build({2560, 2560, 7680, 26, 10, kVocabulary, 2048, 10}, Pattern::griffin)});
  presets.push_back(
      {"recurrentgemma-9b", build({4096, 4096, 12288, 38, 16, kVocabulary, 2048, 16}, Pattern::griffin)});
  const Sizes seven{4096, 5632, 12288, 32, 32, kVocabulary, 1024, 32};
  presets.push_back({"griffin-paper-7b", paper(seven, Pattern::griffin)});
  presets.push_back({"hawk-paper-7b", paper(seven, Pattern::hawk)});
  for (const auto& [kind, pattern] : kKinds)
    for (const PaperSize& size : kPaperSizes)
      presets.push_back(
          {fmt::format("{}-{}", kind, size.name),
           paper({size.D, size.R, 3 * size.D, size.L, size.H, kVocabulary, 1024, 16}, pattern)});
  for (Preset& preset : tinyPresets()) presets.push_back(std::move(preset));
  return presets;
}

}  // namespace

std::vector<std::string> modelPresets() {
  std::vector<std::string> names;
  for (const Preset& preset : allPresets()) names.push_back(preset.name);
  return names;
}

ModelConfig presetConfig(const std::string& name) {
  for (const Preset& preset : allPresets())
    if (preset.name == name) return preset.config;
  throw Error(ErrorCode::badArgument,
              fmt::format("preset: expected one of {}, found {}", fmt::join(modelPresets(), ", "), name));
}

}  // namespace eyrie::engine
