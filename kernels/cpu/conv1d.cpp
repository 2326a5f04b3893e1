#include "kernels/conv1d.h"

namespace eyrie::kernels::cpu {

void conv1d(const Conv1dArgs& args, ThreadPool&) {
  reference::conv1d(args);
}

}  // namespace eyrie::kernels::cpu
