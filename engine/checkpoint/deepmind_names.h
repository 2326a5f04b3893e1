// Checkpoints that carry DeepMind's own tensor names: the flat keys of its PyTorch models ("weight" matrices
// are (out, in)) or of its Flax ones ("kernel" matrices are (in, out)). They are renamed and reshaped to
// Hugging Face's layout before anything else looks at them; not a byte is moved here.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "engine/checkpoint/safetensors.h"
#include "engine/config.h"

namespace eyrie::engine {

// A tensor as the files have it, before the registry has looked at it.
struct FoundTensor {
  SafetensorsTensor tensor;  // its own name; shape (and, of a slice, bytes) as Hugging Face's layout has them
  std::string file;          // full path
  bool transposed = false;   // as in StoredTensor
};
using FoundTensors = std::map<std::string, FoundTensor, std::less<>>;  // by Hugging Face's names

// Whether the table of embeddings has DeepMind's name.
bool hasDeepMindNames(const FoundTensors& found);

// Every tensor of DeepMind's under Hugging Face's name: ffw_up is cut into gate_proj and up_proj, its
// matrices and the convolution's are marked as transposed. "a/b" is read as "a.b", a leading "params." is
// dropped. Names that are not DeepMind's stay. Throws Error(badTensor) for a shape that cannot be cut or
// turned, and for two tensors that mean the same one.
FoundTensors toHuggingFaceNames(FoundTensors found);

// "blocks.3.mlp_block.ffw_up.w" for "model.layers.3.mlp_block.up_proj.weight": what to call a missing tensor.
std::string deepMindName(std::string_view huggingFaceName);

// The configuration of renamed tensors: sizes, the pattern, and by its angles (a_imag_param) that a
// recurrence is complex, are read off them. `configText` is a config.json ("" where there is none) and wins
// where it says something. What neither tells (attention_window_size, logits_soft_cap,
// embeddings_scale_by_sqrt_dim) comes from `preset` ("" for none; see modelPresets()), whose sizes must be
// those of the tensors; a config.json with a model_type is complete and leaves them to Hugging Face's
// defaults. Throws Error(badTensor); Error(badConfig) naming the keys that are missing, and as parseConfig
// does; Error(badArgument) for a preset that does not fit. `file` is the config.json in errors.
ModelConfig deepMindConfig(const FoundTensors& found, std::string_view configText, const std::string& file,
                           const std::string& preset);

}  // namespace eyrie::engine
