// What each call must move and compute at least: the floor that benchmarks compare against.
#pragma once

#include "kernels/attention.h"
#include "kernels/complex_rg_lru.h"
#include "kernels/conv1d.h"
#include "kernels/embed.h"
#include "kernels/gated_mlp.h"
#include "kernels/linear.h"
#include "kernels/rg_lru.h"
#include "kernels/rms_norm.h"

namespace eyrie::kernels {

struct OpCost {
  double bytes = 0;  // read + written once, from memory
  double flops = 0;  // multiply and add count as two
};

OpCost opCost(const RmsNormArgs& args);
OpCost opCost(const LinearArgs& args);
OpCost opCost(const BlockLinearArgs& args);
OpCost opCost(const Conv1dArgs& args);
OpCost opCost(const RgLruArgs& args);
OpCost opCost(const ComplexRgLruArgs& args);
OpCost opCost(const AttentionArgs& args);
OpCost opCost(const GatedActivationArgs& args);
OpCost opCost(const EmbedArgs& args);

}  // namespace eyrie::kernels
