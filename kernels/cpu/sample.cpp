#include "kernels/sample.h"

namespace eyrie::kernels::cpu {

void topK(const TopKArgs& args, ThreadPool&) {
  reference::topK(args);
}

}  // namespace eyrie::kernels::cpu
