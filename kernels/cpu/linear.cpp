#include "kernels/linear.h"

#include "kernels/cpu/linear_blocks.h"
#include "kernels/cpu/linear_dots.h"
#include "kernels/cpu/packed_blocks.h"
#include "kernels/cpu/packed_linear.h"
#include "kernels/thread_pool.h"

namespace eyrie::kernels::cpu {

void linear(const LinearArgs& args, ThreadPool& pool) {
  // From so many tokens on a product in blocks is faster than dot products.
  constexpr std::int64_t kBlockTokens = 64;
  if (args.T == 0) return;
  const bool few = args.T < kBlockTokens || args.weight.cols == 0 || args.alone;
  if (isPacked(args.weight.dtype)) {
    return !few && multipliesBytes() ? packedByBlocks(args, pool) : packedLinear(args, pool);
  }
  few ? linearByDots(args, pool) : linearByBlocks(args, pool);
}

}  // namespace eyrie::kernels::cpu
