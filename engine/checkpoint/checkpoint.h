// An opened model folder: configuration, every tensor mapped where it lies, nothing converted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config.h"
#include "kernels/tensor_view.h"

namespace eyrie::engine {

struct StoredTensor {
  std::string name;
  kernels::DType dtype = kernels::DType::f32;
  std::vector<std::int64_t> shape;
  const void* data = nullptr;  // in the mapping; lives as long as the Checkpoint; aligned to the element
  std::uint64_t bytes = 0;
  std::string file;  // the shard's file name
  // The data is the transpose of the matrix (all extents but the last, last): read by copying it round.
  bool transposed = false;
};

// `count` elements of the tensor from `first` on, in the order of its shape, into `out`.
void copyElements(const StoredTensor& tensor, std::uint64_t first, std::uint64_t count, std::byte* out);

// Immutable, shareable between threads.
class Checkpoint {
 public:
  // `folder` holds config.json and model.safetensors, an index with shards, or one other *.safetensors.
  // Checks headers, names, shapes and dtypes against the tensor registry before any weight is read. Tensors
  // may have DeepMind's names, and then `preset` may say what they do not (deepmind_names.h); here all have
  // Hugging Face's. Throws Error.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& folder,
                                                const std::string& preset = {});
  virtual ~Checkpoint() = default;

  virtual const std::filesystem::path& folder() const = 0;
  virtual const ModelConfig& config() const = 0;  // gateBlocks counted
  // Registry order, then lm_head.weight where it is untied; checked, each used once.
  virtual const std::vector<StoredTensor>& tensors() const = 0;
  virtual const StoredTensor& tensor(std::string_view name) const = 0;  // throws Error(badTensor) if absent
  virtual const StoredTensor* find(std::string_view name) const = 0;
  // The matrix of the logits (V, D): the embedding, or a lm_head.weight that is a different one. A duplicate
  // of the embedding is never handed out (trap 19), and tensors() and find() do not know it. Compares the two
  // once where both exist, so the first call may read both. Throws Error(badTensor) where they differ
  // although tie_word_embeddings is true or not stated.
  virtual const StoredTensor& outputHead() const = 0;
  // Hex digest of configuration, names, shapes and sampled bytes of every tensor: the same model, the same
  // string.
  virtual const std::string& fingerprint() const = 0;
  // These bytes of a tensor are not needed in this process's memory for now: where they are mapped, reading
  // them again brings them back from the file. Any thread.
  virtual void dropPages(const void* data, std::uint64_t bytes) const {
    (void)data;
    (void)bytes;
  }
};

// Positions assumed for the state of global attention, which grows with the text.
inline constexpr std::int64_t kGlobalTokens = 2048;

// What a load would take, from the headers alone (before a byte of weights is read).
struct ModelSummary {
  ModelConfig config;
  std::int64_t parameters = 0;
  std::int64_t embeddingParameters = 0;
  std::string dtype;              // "bf16", "f32", "f16" or "mixed"
  std::uint64_t weightBytes = 0;  // mapped
  std::uint64_t extraBytes = 0;   // converted copies and scratch Eyrie adds
  std::uint64_t stateBytes = 0;   // one sequence, full window; global attention counted at kGlobalTokens
  bool hasTokenizer = false;
  bool hasChatTemplate = false;
};
// `as`: with the large matrices converted to that type (converted_weights.h).
ModelSummary summarise(const Checkpoint& checkpoint, std::optional<kernels::DType> as = std::nullopt);

}  // namespace eyrie::engine
