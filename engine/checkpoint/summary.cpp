#include <algorithm>
#include <limits>
#include <set>

#include "engine/checkpoint/checkpoint.h"
#include "engine/tensor_registry.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/spm_proto.h"
#include "kernels/packed_matrix.h"

namespace eyrie::engine {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();

std::uint64_t times(std::uint64_t a, std::int64_t b) {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, static_cast<std::uint64_t>(b), &product) ? kMost
                                                                            : std::min(product, kMost);
}

// What one sequence holds: fp32 state and convolution tail, fp32 keys and values.
std::uint64_t sequenceBytes(const ModelConfig& config) {
  std::uint64_t total = 0;
  for (const BlockKind kind : config.blocks) {
    std::uint64_t bytes = sizeof(float);
    if (kind == BlockKind::recurrent)
      bytes = times(times(bytes, config.R), config.K);  // h and K - 1 rows of the tail
    else
      bytes = times(times(times(2 * bytes, config.kvHeads), config.Dh),
                    kind == BlockKind::localAttention ? config.olderKeys() : kGlobalTokens);
    total = std::min(kMost, total + bytes);
  }
  return total;
}

bool isWidened(TensorRole role) {
  return role != TensorRole::embedding && role != TensorRole::linear && role != TensorRole::gateWeight;
}

std::string nameOf(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::f32:
      return "f32";
    case kernels::DType::f16:
      return "f16";
    case kernels::DType::bf16:
      return "bf16";
    case kernels::DType::int8:
      return "int8";
    case kernels::DType::int4:
      return "int4";
  }
  return "?";
}

std::uint64_t bytesAs(const StoredTensor& tensor, kernels::DType dtype) {
  const std::int64_t cols = tensor.shape.back();
  const auto count = static_cast<std::int64_t>(tensor.bytes / kernels::dtypeSize(tensor.dtype));
  return static_cast<std::uint64_t>(kernels::matrixBytes({nullptr, dtype, count / cols, cols}));
}

// Linear layers and the head in another type; the embedding stays, for the rows that are looked up.
std::uint64_t convertedBytes(const Checkpoint& checkpoint, kernels::DType dtype) {
  std::uint64_t bytes = bytesAs(checkpoint.outputHead(), dtype);
  const std::vector<ExpectedTensor> expected = expectedTensors(checkpoint.config());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const StoredTensor& tensor = checkpoint.tensors()[i];
    bytes += expected[i].role == TensorRole::linear ? bytesAs(tensor, dtype) : tensor.bytes;
  }
  return bytes;
}

}  // namespace

ModelSummary summarise(const Checkpoint& checkpoint, std::optional<kernels::DType> as) {
  ModelSummary summary;
  summary.config = checkpoint.config();
  std::set<kernels::DType> dtypes;
  const std::vector<ExpectedTensor> expected = expectedTensors(summary.config);
  std::size_t index = 0;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const auto count = static_cast<std::int64_t>(tensor.bytes / kernels::dtypeSize(tensor.dtype));
    summary.parameters += count;
    if (tensor.name == kEmbeddingName || tensor.name == kHeadName) summary.embeddingParameters += count;
    summary.weightBytes += tensor.bytes;
    // Everything but the matrices is widened to f32 at load; the head, if any, comes after the registry's.
    if (index < expected.size() && isWidened(expected[index].role))
      summary.extraBytes += static_cast<std::uint64_t>(count) * sizeof(float);
    else if (tensor.transposed)
      summary.extraBytes += tensor.bytes;  // its copy
    ++index;
    dtypes.insert(tensor.dtype);
  }
  summary.dtype = dtypes.size() == 1 ? nameOf(*dtypes.begin()) : "mixed";
  if (as && *as != kernels::DType::f32 && nameOf(*as) != summary.dtype) {
    summary.dtype = nameOf(*as);
    summary.weightBytes = convertedBytes(checkpoint, *as);
  }
  summary.stateBytes = sequenceBytes(summary.config);
  const TokenizerFacts facts = inspectTokenizer(checkpoint.folder());
  summary.hasTokenizer = facts.present;
  summary.hasChatTemplate = facts.turns && !isBaseModel(checkpoint.folder());
  return summary;
}

}  // namespace eyrie::engine
