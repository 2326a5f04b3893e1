#include "kernels/gated_mlp.h"

namespace eyrie::kernels::cpu {

void gatedActivation(const GatedActivationArgs& args, ThreadPool&) {
  reference::gatedActivation(args);
}

}  // namespace eyrie::kernels::cpu
