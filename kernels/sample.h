// Selection of the k largest logits: the one op of sampling that touches the whole vocabulary.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

struct TopKArgs {
  const float* logits = nullptr;  // (V)
  std::int64_t V = 0;
  std::int64_t k = 0;  // 1 <= k <= V
  std::int32_t* indices =
      nullptr;              // (k) out: by falling logit, ties by rising index; NaN counts as -infinity
  float* values = nullptr;  // (k) out
};

namespace reference {
void topK(const TopKArgs& args);
}
namespace cpu {
void topK(const TopKArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
