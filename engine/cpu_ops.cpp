#include "engine/cpu_ops.h"

namespace eyrie::engine {
namespace {

namespace ref = kernels::reference;
using kernels::ThreadPool;

// The reference takes no pool: it is never optimised.
template <auto op, typename Args>
void alone(const Args& args, ThreadPool& pool) {
  (void)pool;
  op(args);
}

kernels::LogitStats statsAlone(const float* logits, std::int64_t V, ThreadPool& pool) {
  (void)pool;
  return ref::logitStats(logits, V);
}

}  // namespace

const CpuOps& referenceOps() {
  static const CpuOps ops{"reference",
                          &alone<&ref::embed, kernels::EmbedArgs>,
                          &alone<&ref::rmsNorm, kernels::RmsNormArgs>,
                          &alone<&ref::linear, kernels::LinearArgs>,
                          &alone<&ref::blockLinear, kernels::BlockLinearArgs>,
                          &alone<&ref::conv1d, kernels::Conv1dArgs>,
                          &alone<&ref::rgLru, kernels::RgLruArgs>,
                          &alone<&ref::complexRgLru, kernels::ComplexRgLruArgs>,
                          &alone<&ref::gatedActivation, kernels::GatedActivationArgs>,
                          &alone<&ref::rope, kernels::RopeArgs>,
                          &alone<&ref::attention, kernels::AttentionArgs>,
                          &alone<&ref::softCap, kernels::SoftCapArgs>,
                          &statsAlone,
                          &alone<&ref::topK, kernels::TopKArgs>};
  return ops;
}

const CpuOps& fastOps() {
  namespace cpu = kernels::cpu;
  static const CpuOps ops{"cpu",
                          &cpu::embed,
                          &cpu::rmsNorm,
                          &cpu::linear,
                          &cpu::blockLinear,
                          &cpu::conv1d,
                          &cpu::rgLru,
                          &cpu::complexRgLru,
                          &cpu::gatedActivation,
                          &cpu::rope,
                          &cpu::attention,
                          &cpu::softCap,
                          &cpu::logitStats,
                          &cpu::topK};
  return ops;
}

}  // namespace eyrie::engine
