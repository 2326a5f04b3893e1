#include "kernels/attention.h"

#include <algorithm>

namespace eyrie::kernels {

void ringAppend(const RingAppendArgs& args) {
  const std::int64_t rowSize = args.kvHeads * args.Dh;
  const std::int64_t firstRow = args.T - std::min(args.T, args.ring.capacity);
  for (std::int64_t t = firstRow; t < args.T; ++t) {
    const std::int64_t slot = (args.firstPosition + t) % args.ring.capacity;
    std::copy_n(args.k + t * rowSize, rowSize, args.ring.keys + slot * rowSize);
    std::copy_n(args.v + t * rowSize, rowSize, args.ring.values + slot * rowSize);
  }
}

}  // namespace eyrie::kernels
