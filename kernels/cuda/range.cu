#include <nvtx3/nvToolsExt.h>

#include "kernels/cuda/range.h"

namespace eyrie::kernels::cuda {

Range::Range(const char* name) {
  nvtxRangePushA(name);
}

Range::~Range() {
  nvtxRangePop();
}

}  // namespace eyrie::kernels::cuda
