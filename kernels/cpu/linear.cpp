#include "kernels/linear.h"

namespace eyrie::kernels::cpu {

void linear(const LinearArgs& args, ThreadPool&) {
  reference::linear(args);
}

}  // namespace eyrie::kernels::cpu
