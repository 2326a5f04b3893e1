#include "kernels/attention.h"

namespace eyrie::kernels::cpu {

void attention(const AttentionArgs& args, ThreadPool&) {
  reference::attention(args);
}

}  // namespace eyrie::kernels::cpu
