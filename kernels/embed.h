// Rows of the embedding table times a scalar. REFERENCE §1.2 rows 1-2; traps 17, 18.
#pragma once

#include <cstdint>

#include "kernels/tensor_view.h"

namespace eyrie::kernels {

class ThreadPool;

struct EmbedArgs {
  MatrixView table;                      // (V, D)
  const std::int32_t* tokens = nullptr;  // (T), each in [0, V): checked by the engine
  float scale = 1.0F;                    // sqrt(D) rounded to bf16, or 1
  std::int64_t T = 0;
  float* out = nullptr;  // (T, D)
};

// sqrt(width) rounded to bf16, as DeepMind computes it: 50.5 for 2560, 64 for 4096.
float embeddingScale(std::int64_t width);

namespace reference {
void embed(const EmbedArgs& args);
}
namespace cpu {
void embed(const EmbedArgs& args, ThreadPool& pool);
}

}  // namespace eyrie::kernels
