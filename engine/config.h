// Hyper-parameters and the layer pattern of one checkpoint. Parsing is a pure function of text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/gated_mlp.h"

namespace eyrie::engine {

enum class BlockKind : std::uint8_t { recurrent, localAttention, globalAttention };

// complex: DeepMind's only_real=False. Real and imaginary parts are the two halves of R, so that R / 2
// channels have gates and a decay each.
enum class RgLru : std::uint8_t { real, complex };

enum class WindowCounting : std::uint8_t { dm, hf };  // W+1 visible keys, or W

struct ModelConfig {
  std::int64_t D = 0;           // hidden_size
  std::int64_t R = 0;           // lru_width; default D
  std::int64_t E = 0;           // intermediate_size / 2
  std::int64_t L = 0;           // num_hidden_layers
  std::int64_t H = 0;           // num_attention_heads
  std::int64_t kvHeads = 1;     // num_key_value_heads
  std::int64_t Dh = 0;          // head_dim; default D / H
  std::int64_t V = 0;           // vocab_size
  std::int64_t W = 2048;        // attention_window_size
  std::int64_t K = 4;           // conv1d_width
  std::int64_t gateBlocks = 0;  // 0 until counted from the gate tensor (TensorRegistry), else its number
  std::int64_t rotary = 0;      // dims rotated: partial_rotary_factor * Dh
  double ropeTheta = 10000.0;
  float normEps = 1e-6F;
  float logitsSoftCap = 30.0F;  // 0 = off
  bool scaleEmbedding = true;
  bool tieWordEmbeddings = true;
  bool tieStated = false;  // the file says so; matters when a different lm_head is present
  kernels::Activation activation = kernels::Activation::geluTanh;
  WindowCounting windowCounting = WindowCounting::dm;
  RgLru rgLru = RgLru::real;
  std::int32_t bosToken = 2;
  std::vector<std::int32_t> eosTokens = {1};
  std::int32_t padToken = 0;
  std::vector<BlockKind> blocks;  // L entries: the pattern repeated and cut

  // Keys before its own that a local-attention query sees.
  std::int64_t olderKeys() const { return windowCounting == WindowCounting::dm ? W : W - 1; }
  // Channels of the recurrence, each with a gate pair and a decay. The state has R floats either way.
  std::int64_t channels() const { return rgLru == RgLru::complex ? R / 2 : R; }
  bool hasKind(BlockKind kind) const;
  bool operator==(const ModelConfig&) const = default;
};

// "recurrent", "local attention", "global attention": for people.
const char* nameOf(BlockKind kind);

// "RRA RRA" as a compact word, e.g. "RRARRA" ('G' for global attention).
std::string patternString(const ModelConfig& config);

// Parses a Hugging Face config.json. `file` names it in errors.
// Throws Error(badConfig) naming the key, what was expected and what was found; Error(badFile) for bad JSON;
// Error(unsupported) for what Eyrie does not compute. A null is a missing key, but for logits_soft_cap, where
// it switches the cap off (trap 28). bosToken may be outside a vocabulary smaller than 3 that does not state
// it.
ModelConfig parseConfig(std::string_view json, const std::string& file);

// The inverse: a config.json that parseConfig reads back to an equal value (gateBlocks 0: tensors tell it).
std::string writeConfig(const ModelConfig& config, const std::string& torchDtype);

}  // namespace eyrie::engine
