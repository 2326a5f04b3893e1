#include "kernels/logits.h"

namespace eyrie::kernels::cpu {

void softCap(const SoftCapArgs& args, ThreadPool&) {
  reference::softCap(args);
}
LogitStats logitStats(const float* logits, std::int64_t V, ThreadPool&) {
  return reference::logitStats(logits, V);
}

}  // namespace eyrie::kernels::cpu
