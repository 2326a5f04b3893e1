#include <algorithm>
#include <limits>
#include <set>

#include "engine/checkpoint/checkpoint.h"
#include "engine/tensor_registry.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/spm_proto.h"

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

}  // namespace

ModelSummary summarise(const Checkpoint& checkpoint) {
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
  if (dtypes.size() == 1)
    summary.dtype = *dtypes.begin() == kernels::DType::f32   ? "f32"
                    : *dtypes.begin() == kernels::DType::f16 ? "f16"
                                                             : "bf16";
  else
    summary.dtype = "mixed";
  summary.stateBytes = sequenceBytes(summary.config);
  const TokenizerFacts facts = inspectTokenizer(checkpoint.folder());
  summary.hasTokenizer = facts.present;
  summary.hasChatTemplate = facts.turns && !isBaseModel(checkpoint.folder());
  return summary;
}

}  // namespace eyrie::engine
