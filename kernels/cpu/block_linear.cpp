#include "kernels/linear.h"

namespace eyrie::kernels::cpu {

void blockLinear(const BlockLinearArgs& args, ThreadPool&) {
  reference::blockLinear(args);
}

}  // namespace eyrie::kernels::cpu
