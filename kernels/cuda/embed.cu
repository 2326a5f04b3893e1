// Rows of the embedding table times a scalar: a block a token.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <class Stored>
__global__ void embed_kernel(const Stored* table, const std::int32_t* tokens, float scale, std::int64_t D,
                             float* out) {
  const Stored* row = table + tokens[blockIdx.x] * D;
  float* outRow = out + blockIdx.x * D;
  for (std::int64_t d = threadIdx.x; d < D; d += kThreads) outRow[d] = widened(row[d]) * scale;
}

}  // namespace

void embed(const EmbedArgs& args, Stream stream) {
  if (args.T == 0) return;
  withStored(args.table.dtype, [&](auto stored) {
    using Stored = decltype(stored);
    launch(embed_kernel<Stored>, {dim3(static_cast<unsigned>(args.T)), dim3(kThreads)}, stream,
           static_cast<const Stored*>(args.table.data), args.tokens, args.scale, args.table.cols, args.out);
  });
}

}  // namespace eyrie::kernels::cuda
