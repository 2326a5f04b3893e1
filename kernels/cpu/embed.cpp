#include "kernels/embed.h"

#include "kernels/cpu/grain.h"
#include "kernels/cpu/widen.h"
#include "kernels/thread_pool.h"

namespace eyrie::kernels::cpu {

void embed(const EmbedArgs& args, ThreadPool& pool) {
  const std::int64_t D = args.table.cols;
  const auto rows = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      widenElements(args.table.data, args.table.dtype, args.tokens[t] * D, D, args.scale, args.out + t * D);
    }
  };
  pool.parallelFor(args.T, grainFor(0.3 * static_cast<double>(D)), rows);
}

}  // namespace eyrie::kernels::cpu
