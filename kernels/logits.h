// What happens to logits after the head's matrix product: soft cap, log-softmax statistics. Traps 27, 28.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

struct SoftCapArgs {
  float* logits = nullptr;  // (n), in place: cap * tanh(x / cap)
  std::int64_t n = 0;
  float cap = 0.0F;  // 0 = off
};

struct LogitStats {
  float max = 0;
  float logSumExp = 0;  // log-probability of token v = logits[v] - logSumExp
  float entropy = 0;    // nats
};

namespace reference {
void softCap(const SoftCapArgs& args);
LogitStats logitStats(const float* logits, std::int64_t V);
}  // namespace reference
namespace cpu {
void softCap(const SoftCapArgs& args, ThreadPool& pool);
LogitStats logitStats(const float* logits, std::int64_t V, ThreadPool& pool);
}  // namespace cpu

}  // namespace eyrie::kernels
