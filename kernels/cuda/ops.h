// The ops on a card. Arguments are those of the contracts in kernels/*.h wherever they fit, with every
// pointer in device memory; `stream` comes last. No launcher allocates or waits, so a graph can capture any
// of them, and what changes from step to step (positions, where a sequence's state lies) is read from device
// memory (trap 41). Arithmetic is f32 throughout unless a line says otherwise. Calls throw CudaError when a
// launch fails.
//
// Ops of kernels/*.h, and where they are:
// clang-format off
//   embed                     embed                                                       embed.cu
//   rms_norm                  rmsNorm; in projections and gatedProjection                 rms_norm.cu, linear.cu
//   linear                    linear, projections: few rows                               linear.cu
//   linear, packed weights    packedProjections                                           packed_linear.cu
//   many rows of both         operand, matmul, packedMatmul (matmul.h)                    operand.cu, matmul.cu, packed_matmul.cu, blas.cu
//   block_linear              blockLinear; in recurrentStep; blockMatmul (matmul.h)       block_linear.cu, matmul.cu
//   conv1d                    conv1d; in recurrentStep                                    conv1d.cu
//   rg_lru                    rgLru; in recurrentStep                                     rg_lru.cu
//   complex_rg_lru            complexRgLru; in complexRecurrentStep                       complex_rg_lru.cu
//   one token of conv1d, block_linear, rg_lru and gated_mlp    recurrentStep              recurrent_step.cu
//   likewise with complex_rg_lru                               complexRecurrentStep       complex_recurrent_step.cu
//   rope, ring append         ropeTable, rope, ropeAppend, ringAppend                     rope.cu
//   attention                 attention, tensorAttention (chunks)                         attention.cu, tensor_attention.cu
//                             decodeAttention (a token a sequence)                        decode_attention.cu
//   gated_mlp                 gatedActivation; in gatedProjection and recurrentStep       gated_mlp.cu
//   logits                    softCap, logitStats                                         logits.cu
//   sample                    topK, draw                                                  sample.cu
//   interventions on rows     editColumns, addTo                                          edit_columns.cu
//   summaries of taps         tapSummary; in decodeAttention                              tap_summary.cu
// clang-format on
// None of them has run on a card yet: tests/cuda_emulator runs them thread by thread on the CPU.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/complex_rg_lru.h"
#include "kernels/conv1d.h"
#include "kernels/cuda/packed_rows.h"
#include "kernels/cuda/stream.h"
#include "kernels/embed.h"
#include "kernels/gated_mlp.h"
#include "kernels/linear.h"
#include "kernels/logits.h"
#include "kernels/rg_lru.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/sample.h"

namespace eyrie::kernels::cuda {

void embed(const EmbedArgs& args, Stream stream);
void rmsNorm(const RmsNormArgs& args, Stream stream);
void gatedActivation(const GatedActivationArgs& args, Stream stream);

// ---- matrix-vector products: up to 8 rows of x are one launch, which reads each weight once (1 row, where
// rows cannot be read four elements at a time) ----

// One matrix that reads x.
struct Projection {
  MatrixView weight;            // (rows, cols), f32, f16 or bf16
  const float* bias = nullptr;  // (rows) or null
  float* out = nullptr;         // (T, rows); must not overlap x
};

struct ProjectionArgs {
  const float* x = nullptr;           // (T, cols)
  const float* normWeight = nullptr;  // (cols): x is RMS-normed first (rms_norm.h); null: x as it is
  float eps = 1e-6F;
  std::int64_t T = 0;
  std::array<Projection, 3> outputs;  // those with weights, first ones first; of the same type and cols
  bool accumulate = false;            // out += rather than out =: the residual stream
};

// out = activation(x' gate^T + gateBias) * (x' up^T + upBias), x' as above: norm, two products and GeGLU in
// one.
struct GatedProjectionArgs {
  const float* x = nullptr;  // (T, cols)
  const float* normWeight = nullptr;
  float eps = 1e-6F;
  std::int64_t T = 0;
  MatrixView gate, up;  // (rows, cols), of the same type and size
  const float* gateBias = nullptr;
  const float* upBias = nullptr;
  Activation activation = Activation::geluTanh;
  float* out = nullptr;  // (T, rows)
};

void linear(const LinearArgs& args, Stream stream);
void projections(const ProjectionArgs& args, Stream stream);
void gatedProjection(const GatedProjectionArgs& args, Stream stream);
void blockLinear(const BlockLinearArgs& args, Stream stream);

// ---- the recurrent block ----

// Chunks of N sequences, one after the other in the rows of every array.
struct SequenceRows {
  const std::int64_t* begins = nullptr;     // (N + 1): first rows of the sequences, then T
  const std::int32_t* owners = nullptr;     // (T): whose the rows are
  const std::int64_t* positions = nullptr;  // (T)
  std::int64_t N = 0;
};

// conv1d.h with the memory as a ring, so that one kernel may read it in many blocks while it writes: the
// input at position p lies in slot p mod K; positions before 0 count as zeros, whatever the ring holds.
struct ConvRingArgs {
  const float* x = nullptr;       // (T, R)
  float* const* rings = nullptr;  // (N) pointers to (K, R), read, then updated
  const float* weight = nullptr;  // (K, R): row K-1 multiplies the current token
  const float* bias = nullptr;    // (R)
  SequenceRows sequences;
  std::int64_t T = 0;
  std::int64_t R = 0;
  std::int64_t K = 0;
  float* out = nullptr;  // (T, R); must not overlap x
};
void conv1d(const ConvRingArgs& args, Stream stream);

// Each array is read once, whatever T is. Products of decays may underflow to 0 (trap 39); no logarithm of
// them is taken. Overrides lie in host memory, their arrays on the card.
void rgLru(const RgLruArgs& args, Stream stream);

// Chunks of several sequences, and the output gate in the same pass.
struct RgLruBatchArgs {
  RgLruArgs rows;  // T: all rows; with `states`, `state` and `startsSequence` are not read; `out` may be null
                   // where `y` is not
  float* const* states = nullptr;  // (N) pointers to (R); null: there is one sequence
  SequenceRows sequences;          // where there are `states`; the owners are not looked at
  const float* y = nullptr;        // (T, R) or null
  Activation activation = Activation::geluTanh;
  DType operandType = DType::f32;
  void* operand = nullptr;  // (T, R), where `y` is: activation(y) * h as the operand of a product (matmul.h)
};
void rgLru(const RgLruBatchArgs& args, Stream stream);

// The same for complex states, chunked likewise.
std::int64_t complexRgLruWorkspace(std::int64_t T, std::int64_t C);
void complexRgLru(const ComplexRgLruArgs& args, float* workspace, Stream stream);

// One token of N sequences: convolution, gates, RG-LRU and output gate. Where a sequence's state lies and its
// position are read on the card.
struct RecurrentStepArgs {
  const float* x = nullptr;              // (N, R): linear_x's output
  const float* y = nullptr;              // (N, R): linear_y's output, not yet activated
  const float* convWeight = nullptr;     // (K, R)
  const float* convBias = nullptr;       // (R)
  MatrixView inputGate, recurrenceGate;  // as in BlockLinearArgs, N = B, both of one type
  const float* inputGateBias = nullptr;
  const float* recurrenceGateBias = nullptr;
  const float* decayRate = nullptr;  // (R)
  Activation activation = Activation::geluTanh;
  float* const* convRings = nullptr;        // (N) pointers to (K, R)
  float* const* states = nullptr;           // (N) pointers to (R)
  const std::int64_t* positions = nullptr;  // (N)
  std::int64_t N = 0;
  std::int64_t R = 0;
  std::int64_t G = 0;  // gate blocks; B = R / G
  std::int64_t K = 0;
  float* out = nullptr;  // (N, R): activation(y) * h
  RgLruTaps taps;        // rows are sequences
};
void recurrentStep(const RecurrentStepArgs& args, Stream stream);

// Likewise with complex states, C = R / 2: gates have B / 2 columns a block, their biases and decayRate are
// (C). `block.taps` is not looked at.
struct ComplexRecurrentStepArgs {
  RecurrentStepArgs block;
  const float* angleRate = nullptr;  // (C)
  ComplexRgLruTaps taps;             // rows are sequences
};
void complexRecurrentStep(const ComplexRecurrentStepArgs& args, Stream stream);

// ---- local attention ----

inline constexpr std::int64_t kMaxHeadSize = 256;  // Dh of both forms of attention

// Cosines and sines of every row's position, once for all layers; angles in double (trap 21).
struct RopeTableArgs {
  const std::int64_t* positions = nullptr;  // (T)
  double theta = 10000.0;
  std::int64_t T = 0;
  std::int64_t rotary = 0;
  float* table = nullptr;  // (T, rotary / 2, 2): cosine, sine
};
void ropeTable(const RopeTableArgs& args, Stream stream);

// rope.h with such a table.
struct RopeRowsArgs {
  float* x = nullptr;            // (T, heads, Dh), in place
  const float* table = nullptr;  // (T, rotary / 2, 2)
  std::int64_t T = 0;
  std::int64_t heads = 0;
  std::int64_t Dh = 0;
  std::int64_t rotary = 0;
};
void rope(const RopeRowsArgs& args, Stream stream);

void ringAppend(const RingAppendArgs& args, Stream stream);

// attention.h for chunks: tiles of 16 queries and 16 keys, running softmax, no (T, W) array anywhere.
// `statistics` (T, H, 2) is needed where args.weights is asked for. The form for f32 models, and for cards
// before sm_80.
void attention(const AttentionArgs& args, float* statistics, Stream stream);

// The same on tensor cores, for models with weights of other types on cards from this capability (sm_80) on:
// queries, keys, values and weights are rounded to bf16 for the products; sums, scores and softmax are f32.
// Results are off by some 0.2 % of their size.
inline constexpr int kTensorAttentionCapability = 80;
struct TensorAttentionArgs {
  AttentionArgs attention;      // `out` may be null where `operand` is not
  void* operand = nullptr;      // (T, H, Dh) bf16 or null: `out` as the operand of a product (matmul.h)
  float* statistics = nullptr;  // (T, H, 2), where weights are asked for
  void* workspace = nullptr;    // tensorAttentionWorkspace bytes, 16-byte aligned
};
// Bytes; `positions` is at least min(older, firstPosition) + T.
std::int64_t tensorAttentionWorkspace(std::int64_t positions, std::int64_t kvHeads, std::int64_t Dh);
void tensorAttention(const TensorAttentionArgs& args, Stream stream);

// One token of N sequences, each with a ring of its own that holds the token's own key too: capacity > older,
// unless fewer positions than that were seen.
struct KvRings {
  float* const* keys = nullptr;    // (N) pointers to (capacity, kvHeads, Dh)
  float* const* values = nullptr;  // (N)
  std::int64_t capacity = 0;
  const std::int64_t* positions = nullptr;  // (N): of the token
};

// Rotates queries in place and keys on their way into the ring, values with them.
struct RopeAppendArgs {
  float* q = nullptr;            // (N, H, Dh)
  const float* k = nullptr;      // (N, kvHeads, Dh)
  const float* v = nullptr;      // (N, kvHeads, Dh)
  const float* table = nullptr;  // (N, rotary / 2, 2)
  KvRings rings;
  std::int64_t N = 0;
  std::int64_t H = 0;
  std::int64_t kvHeads = 0;
  std::int64_t Dh = 0;
  std::int64_t rotary = 0;
};
void ropeAppend(const RopeAppendArgs& args, Stream stream);

struct DecodeAttentionArgs {
  const float* q = nullptr;  // (N, H, Dh) after RoPE, not yet scaled
  KvRings rings;
  std::int64_t older = 0;
  std::int64_t N = 0;
  std::int64_t H = 0;
  std::int64_t kvHeads = 0;
  std::int64_t Dh = 0;         // at most kMaxHeadSize
  std::int64_t splits = 1;     // parts of the window computed side by side
  float* workspace = nullptr;  // decodeAttentionWorkspace floats
  float* out = nullptr;        // (N, H, Dh)
  float* weights = nullptr;    // as in AttentionArgs, (N, H, span), or null
  std::int64_t span = 0;
  // (N, H, 2): entropy in nats, weight of the first visible key; null, or with weights.
  float* summary = nullptr;
};
constexpr std::int64_t decodeAttentionWorkspace(std::int64_t N, std::int64_t H, std::int64_t Dh,
                                                std::int64_t splits) {
  return N * H * splits * (Dh + 2);
}
void decodeAttention(const DecodeAttentionArgs& args, Stream stream);

// ---- what a step shows ----

// Of each layer and sequence: norm of the state, means of recurrence and input gate, norms of what is written
// and kept, half-lives of the channels at 5, 25, 50, 75 and 95 % (as engine/frame_builder.h has them).
inline constexpr std::int64_t kTapSummary = 10;

struct TapSummaryArgs {
  const float* recurrenceGate = nullptr;  // (N, C) of the first layer
  const float* inputGate = nullptr;       // (N, C)
  const float* logDecay = nullptr;        // (N, C)
  const float* write = nullptr;           // (N, R)
  const float* keep = nullptr;            // (N, R); the state is the sum of both
  std::int64_t stride = 0;                // floats from a layer's arrays to the next layer's
  std::int64_t layers = 0;
  std::int64_t N = 0;
  std::int64_t C = 0;
  std::int64_t R = 0;
  float* out = nullptr;  // (layers, N, kTapSummary)
};
void tapSummary(const TapSummaryArgs& args, Stream stream);

// ---- the head ----

void softCap(const SoftCapArgs& args, Stream stream);

struct LogitStatsArgs {
  const float* logits = nullptr;  // (rows, V)
  std::int64_t rows = 0;
  std::int64_t V = 0;
  LogitStats* out = nullptr;     // (rows)
  const float* scale = nullptr;  // (rows) or null
  LogitStats* scaled = nullptr;  // (rows): of the logits times the row's `scale`, where there is one
  float* workspace = nullptr;    // logitStatsWorkspace floats for each row
};
std::int64_t logitStatsWorkspace(std::int64_t V);
void logitStats(const LogitStatsArgs& args, Stream stream);
// Of one row.
inline void logitStats(const float* logits, std::int64_t V, float* workspace, LogitStats* out,
                       Stream stream) {
  logitStats({logits, 1, V, out, nullptr, nullptr, workspace}, stream);
}

inline constexpr std::int64_t kMaxTopK = 1024;
// 64-bit words of workspace of topK, for each row.
std::int64_t topKWorkspace(std::int64_t V, std::int64_t k);
// sample.h with k <= kMaxTopK, of each of `rows` rows: every array has so many, one after the other.
void topK(const TopKArgs& args, std::uint64_t* workspace, Stream stream, std::int64_t rows = 1);
// sample.h with known <= kMaxTopK. The rules are read on the card.
void draw(const DrawArgs& args, Stream stream);

// ---- interventions ----

// Columns first..end-1 of rows firstRow..endRow-1 become `value`, or `value` times themselves. What a range
// holds beyond the rows counts for nothing.
struct ColumnEdit {
  std::int64_t firstRow = 0;
  std::int64_t endRow = 0;
  std::int64_t first = 0;
  std::int64_t end = 0;
  float value = 0;
  std::int32_t scales = 0;  // 0: set, whatever was there (NaN too); otherwise multiply
};

// One launch for all sequences of a chunk: each owns a range of rows. Edits act in the order given, and both
// they and their number are read on the card.
struct EditColumnsArgs {
  float* rows = nullptr;                // (T, width), in place
  const ColumnEdit* edits = nullptr;    // (*count); null where *count is 0
  const std::int64_t* count = nullptr;  // one number in device memory
  std::int64_t T = 0;
  std::int64_t width = 0;
};
void editColumns(const EditColumnsArgs& args, Stream stream);

// to += from: what an edited block adds to the residual stream.
struct AddToArgs {
  float* to = nullptr;
  const float* from = nullptr;
  std::int64_t n = 0;
};
void addTo(const AddToArgs& args, Stream stream);

// ---- quantised weights: kernels/cuda/packed_rows.h says how they lie on the card ----

struct PackedProjection {
  PackedRows weight;
  const float* bias = nullptr;  // (rows) or null
  float* out = nullptr;         // (T, rows)
};

// As ProjectionArgs, but up to 4 rows of x are a launch: 2 where they are longer than 5440, 1 where they are
// longer than 10912, as shared memory holds no more. x is read as 16-bit integers with one scale for every 32
// columns; products and sums of 16 (int8) or 32 (int4) columns are exact integers, sums of those f32.
struct PackedProjectionArgs {
  const float* x = nullptr;
  const float* normWeight = nullptr;
  float eps = 1e-6F;
  std::int64_t T = 0;
  std::array<PackedProjection, 3> outputs;
  bool accumulate = false;
};
void packedProjections(const PackedProjectionArgs& args, Stream stream);

// As GatedProjectionArgs.
struct PackedGatedProjectionArgs {
  const float* x = nullptr;
  const float* normWeight = nullptr;
  float eps = 1e-6F;
  std::int64_t T = 0;
  PackedRows gate, up;
  const float* gateBias = nullptr;
  const float* upBias = nullptr;
  Activation activation = Activation::geluTanh;
  float* out = nullptr;
};
void packedGatedProjection(const PackedGatedProjectionArgs& args, Stream stream);

}  // namespace eyrie::kernels::cuda
