// What interventions do to rows: a thread an element walks through all edits, which every thread of a warp
// reads at the same address.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

__device__ __forceinline__ bool holds(const ColumnEdit& edit, std::int64_t row, std::int64_t column) {
  return row >= edit.firstRow && row < edit.endRow && column >= edit.first && column < edit.end;
}

__global__ void __launch_bounds__(kElementThreads) edit_columns_kernel(EditColumnsArgs args) {
  const std::int64_t at = elementIndex();
  if (at >= args.T * args.width) return;
  const std::int64_t row = at / args.width;
  const std::int64_t column = at % args.width;
  const std::int64_t count = *args.count;
  float value = args.rows[at];
  bool edited = false;
  for (std::int64_t i = 0; i < count; ++i) {
    const ColumnEdit edit = args.edits[i];
    if (!holds(edit, row, column)) continue;
    value = edit.scales != 0 ? value * edit.value : edit.value;
    edited = true;
  }
  if (edited) args.rows[at] = value;
}

__global__ void add_to_kernel(AddToArgs args) {
  const std::int64_t i = elementIndex();
  if (i < args.n) args.to[i] += args.from[i];
}

}  // namespace

void editColumns(const EditColumnsArgs& args, Stream stream) {
  if (args.T == 0 || args.width == 0) return;
  launch(edit_columns_kernel, elementShape(args.T * args.width), stream, args);
}

void addTo(const AddToArgs& args, Stream stream) {
  if (args.n > 0) launch(add_to_kernel, elementShape(args.n), stream, args);
}

}  // namespace eyrie::kernels::cuda
