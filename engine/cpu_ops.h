// The CPU kernels as a table, so that the same backend runs the scalar reference and the fast kernels.
#pragma once

#include "kernels/attention.h"
#include "kernels/complex_rg_lru.h"
#include "kernels/conv1d.h"
#include "kernels/embed.h"
#include "kernels/gated_mlp.h"
#include "kernels/linear.h"
#include "kernels/logits.h"
#include "kernels/rg_lru.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/sample.h"
#include "kernels/thread_pool.h"

namespace eyrie::engine {

struct CpuOps {
  const char* name;
  void (*embed)(const kernels::EmbedArgs&, kernels::ThreadPool&);
  void (*rmsNorm)(const kernels::RmsNormArgs&, kernels::ThreadPool&);
  void (*linear)(const kernels::LinearArgs&, kernels::ThreadPool&);
  void (*blockLinear)(const kernels::BlockLinearArgs&, kernels::ThreadPool&);
  void (*conv1d)(const kernels::Conv1dArgs&, kernels::ThreadPool&);
  void (*rgLru)(const kernels::RgLruArgs&, kernels::ThreadPool&);
  void (*complexRgLru)(const kernels::ComplexRgLruArgs&, kernels::ThreadPool&);
  void (*gatedActivation)(const kernels::GatedActivationArgs&, kernels::ThreadPool&);
  void (*rope)(const kernels::RopeArgs&, kernels::ThreadPool&);
  void (*attention)(const kernels::AttentionArgs&, kernels::ThreadPool&);
  void (*softCap)(const kernels::SoftCapArgs&, kernels::ThreadPool&);
  kernels::LogitStats (*logitStats)(const float* logits, std::int64_t V, kernels::ThreadPool&);
  void (*topK)(const kernels::TopKArgs&, kernels::ThreadPool&);
};

const CpuOps& referenceOps();
const CpuOps& fastOps();

}  // namespace eyrie::engine
