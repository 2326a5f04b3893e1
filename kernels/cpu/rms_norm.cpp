#include "kernels/rms_norm.h"

namespace eyrie::kernels::cpu {

void rmsNorm(const RmsNormArgs& args, ThreadPool&) {
  reference::rmsNorm(args);
}

}  // namespace eyrie::kernels::cpu
