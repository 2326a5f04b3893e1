#include "kernels/rope.h"

namespace eyrie::kernels::cpu {

void rope(const RopeArgs& args, ThreadPool&) {
  reference::rope(args);
}

}  // namespace eyrie::kernels::cpu
