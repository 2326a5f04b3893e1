// Rotary embedding by a table, and the way of new keys and values into the ring.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

__global__ void rope_table_kernel(RopeTableArgs args) {
  const std::int64_t half = args.rotary / 2;
  const std::int64_t i = elementIndex();
  if (i >= args.T * half) return;
  const double exponent = -2.0 * static_cast<double>(i % half) / static_cast<double>(args.rotary);
  const double angle = static_cast<double>(args.positions[i / half]) * pow(args.theta, exponent);
  args.table[2 * i] = static_cast<float>(cos(angle));
  args.table[2 * i + 1] = static_cast<float>(sin(angle));
}

// Dimension d of a row after rotation. `angles` is the row's part of the table.
__device__ __forceinline__ float rotated(const float* row, const float* angles, std::int64_t d,
                                         std::int64_t rotary) {
  if (d >= rotary) return row[d];
  const std::int64_t half = rotary / 2;
  const std::int64_t j = d < half ? d : d - half;
  const float cosine = angles[2 * j];
  const float sine = angles[2 * j + 1];
  return d < half ? row[d] * cosine - row[d + half] * sine : row[d] * cosine + row[d - half] * sine;
}

// Pair j of `row`, in place.
__device__ __forceinline__ void rotatePair(float* row, const float* angles, std::int64_t j,
                                           std::int64_t half) {
  const float first = row[j];
  const float second = row[j + half];
  row[j] = first * angles[2 * j] - second * angles[2 * j + 1];
  row[j + half] = second * angles[2 * j] + first * angles[2 * j + 1];
}

__global__ void rope_kernel(RopeRowsArgs args) {
  const std::int64_t half = args.rotary / 2;
  const std::int64_t i = elementIndex();  // pair and head of token blockIdx.y
  if (i >= args.heads * half) return;
  const std::int64_t t = blockIdx.y;
  rotatePair(args.x + (t * args.heads + i / half) * args.Dh, args.table + t * args.rotary, i % half, half);
}

__global__ void ring_append_kernel(RingAppendArgs args, std::int64_t firstRow) {
  const std::int64_t rowSize = args.kvHeads * args.Dh;
  const std::int64_t i = elementIndex();
  if (i >= rowSize) return;
  const std::int64_t t = firstRow + blockIdx.y;
  const std::int64_t slot = (args.firstPosition + t) % args.ring.capacity;
  args.ring.keys[slot * rowSize + i] = args.k[t * rowSize + i];
  args.ring.values[slot * rowSize + i] = args.v[t * rowSize + i];
}

__global__ void rope_append_kernel(RopeAppendArgs args) {
  letNextBegin();
  waitForPrior();
  const std::int64_t n = blockIdx.y;
  const float* angles = args.table + n * args.rotary;
  const std::int64_t half = args.rotary / 2;
  const std::int64_t pairs = args.H * half;
  const std::int64_t i = elementIndex();  // first the pairs of the queries, then the ring's elements
  if (i < pairs) return rotatePair(args.q + (n * args.H + i / half) * args.Dh, angles, i % half, half);
  const std::int64_t rowSize = args.kvHeads * args.Dh;
  const std::int64_t element = i - pairs;
  if (element >= rowSize) return;
  const std::int64_t head = element / args.Dh;
  const std::int64_t at = args.rings.positions[n] % args.rings.capacity * rowSize + element;
  args.rings.keys[n][at] =
      rotated(args.k + n * rowSize + head * args.Dh, angles, element % args.Dh, args.rotary);
  args.rings.values[n][at] = args.v[n * rowSize + element];
}

}  // namespace

void ropeTable(const RopeTableArgs& args, Stream stream) {
  const std::int64_t count = args.T * (args.rotary / 2);
  if (count > 0) launch(rope_table_kernel, elementShape(count), stream, args);
}

void rope(const RopeRowsArgs& args, Stream stream) {
  const std::int64_t count = args.heads * (args.rotary / 2);
  if (args.T > 0 && count > 0) launch(rope_kernel, elementShape(count, args.T), stream, args);
}

void ringAppend(const RingAppendArgs& args, Stream stream) {
  const std::int64_t rows = args.T < args.ring.capacity ? args.T : args.ring.capacity;
  if (rows == 0) return;
  launch(ring_append_kernel, elementShape(args.kvHeads * args.Dh, rows), stream, args, args.T - rows);
}

void ropeAppend(const RopeAppendArgs& args, Stream stream) {
  if (args.N == 0) return;
  const std::int64_t count = args.H * (args.rotary / 2) + args.kvHeads * args.Dh;
  launch(rope_append_kernel, early(elementShape(count, args.N)), stream, args);
}

}  // namespace eyrie::kernels::cuda
