#include "kernels/embed.h"

namespace eyrie::kernels::reference {

void embed(const EmbedArgs& args) {
  const std::int64_t D = args.table.cols;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t d = 0; d < D; ++d) {
      const auto index = static_cast<std::size_t>(args.tokens[t] * D + d);
      args.out[t * D + d] = loadAsFloat(args.table.data, args.table.dtype, index) * args.scale;
    }
  }
}

}  // namespace eyrie::kernels::reference
