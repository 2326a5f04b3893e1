// Weights in another type than the checkpoint's: rounded to 16 bits, or quantised (kernels/packed_matrix.h).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>

#include "engine/weights.h"
#include "kernels/thread_pool.h"

namespace eyrie::engine {

struct Conversion {
  kernels::DType to = kernels::DType::int8;  // f16, bf16, int8 or int4
  // Where quantised matrices are kept for the next time (weight_cache.h); empty: nowhere. Small models are
  // quantised anew: that takes no time.
  std::filesystem::path cacheFolder;
  std::function<void(double fraction)> progress;  // from the calling thread, 0..1
  std::stop_token stop;                           // throws Error(cancelled)
};

// Copies of `weights` whose convertibleMatrices are of type `to`; where all are already, `weights` itself.
// Throws Error, std::bad_alloc.
std::shared_ptr<const Weights> convertWeights(std::shared_ptr<const Weights> weights,
                                              const Conversion& conversion, kernels::ThreadPool& pool);

}  // namespace eyrie::engine
