// What both forms of attention over chunks end with where weights are asked for.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/stream.h"

namespace eyrie::kernels::cuda {

// args.weights holds the scores of keys that are seen and becomes their weights, 0 where there is no key.
// `statistics` (T, H, 2): each query's largest score, and the sum of exp(score - largest).
void attentionWeights(const AttentionArgs& args, const float* statistics, Stream stream);

}  // namespace eyrie::kernels::cuda
