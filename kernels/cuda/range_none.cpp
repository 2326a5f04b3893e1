#include "kernels/cuda/range.h"

namespace eyrie::kernels::cuda {

Range::Range(const char*) {}
Range::~Range() = default;

}  // namespace eyrie::kernels::cuda
