// The one table of tensor names: which tensors a configuration has, of what shape, where. Loader, inspector
// and make-model read it and nothing else (trap 13).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config.h"

namespace eyrie::engine {

// What a tensor is for; backends and make-model switch on this instead of on names.
enum class TensorRole : std::uint8_t {
  embedding,          // (V, D)
  norm,               // (D), used as 1 + w
  linear,             // (out, in)
  bias,               // (out)
  convolution,        // (R, 1, K), the last tap is the current token
  gateWeight,         // (blocks, in, out): transposed with respect to `linear`
  gateBias,           // (blocks, out)
  recurrentParam,     // (channels): p of log_a = -8 r softplus(p)
  recurrentImagParam  // (channels): radians a token at r = 1; complex RG-LRU only
};

struct ExpectedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::string formula;  // the shape in words: "[hidden_size, num_attention_heads * head_dim]"
  TensorRole role = TensorRole::linear;
  std::int64_t layerIdx = -1;  // -1: not of a layer
};

// Every tensor of the model in canonical order: embedding, layers, final norm. gateBlocks must be known where
// there are recurrent layers. The head is not among them: it is the embedding unless the file brings its own.
std::vector<ExpectedTensor> expectedTensors(const ModelConfig& config);

inline constexpr std::string_view kEmbeddingName = "model.embed_tokens.weight";
inline constexpr std::string_view kHeadName = "lm_head.weight";

// Name of the tensor whose first dimension tells the number of gate blocks; empty without recurrent layers.
std::string gateBlocksWitness(const ModelConfig& config);
// Reads gateBlocks off that tensor's shape. Throws Error(badTensor) naming `file`, tensor, expected and
// found.
std::int64_t countGateBlocks(const ModelConfig& config, const std::vector<std::int64_t>& shape,
                             const std::string& file);

// "[4, 20, 20]"
std::string shapeText(const std::vector<std::int64_t>& shape);

}  // namespace eyrie::engine
