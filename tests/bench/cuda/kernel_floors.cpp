// One row a kernel: its cost at one shape, and the dynamic shared memory that its launcher asks for there.
// Launchers are called with the emulator looking on, which runs nothing, so that no array need be there.
#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <stdexcept>

#include "kernels/cuda/device.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stream.h"
#include "tests/bench/cuda/floors.h"
#include "tests/cuda_emulator/kernel_name.h"
#include "tests/cuda_emulator/streams.h"

namespace eyrie::bench {
namespace {

namespace cuda = kernels::cuda;
using kernels::Activation;
using kernels::MatrixView;

constexpr double kF32 = 4;
constexpr double kBf16 = 2;
constexpr std::int64_t kSplits = 32;  // of a window, as engine/cuda/cuda_memory.cpp chooses for one sequence
constexpr std::int64_t kFewRows = 8;  // which linear.cu takes at once
constexpr std::int64_t kLayers = 18;  // recurrent ones
constexpr cuda::Stream kStream = nullptr;

// Never read.
template <class T>
T* some() {
  return reinterpret_cast<T*>(std::uintptr_t{256});
}
float* const kFloats = some<float>();

double real(std::int64_t n) {
  return static_cast<double>(n);
}

MatrixView matrix(std::int64_t rows, std::int64_t cols) {
  return {some<void>(), DType::bf16, rows, cols};
}

cuda::PackedRows packed(DType dtype, std::int64_t rows, std::int64_t cols) {
  return {some<void>(), some<std::uint16_t>(), dtype, rows, cols};
}

struct KernelFloor {
  std::string kernel;
  Floor floor;
};

struct Case {
  std::string at;
  std::function<void()> launch;
  std::vector<KernelFloor> kernels;    // those of the launched ones that it is about
  std::function<void()> largest = {};  // a shape with the most dynamic shared memory there can be
  std::string largestAt = {};
};

using Launched = std::map<std::string, std::size_t>;  // dynamic shared memory, bytes

Launched launched(const std::function<void()>& launch) {
  Launched found;
  emulator::watchLaunches([&](const emulator::LaunchedKernel& kernel) {
    std::size_t& bytes = found[emulator::kernelName(kernel.function)];
    bytes = std::max(bytes, kernel.shape.sharedBytes);
  });
  launch();
  emulator::watchLaunches(nullptr);
  return found;
}

cuda::SequenceRows oneSequence() {
  return {some<std::int64_t>(), some<std::int32_t>(), some<std::int64_t>(), 1};
}

kernels::AttentionArgs chunkAttention() {
  kernels::AttentionArgs args{kFloats, kFloats, kFloats, {kFloats, kFloats, kOlder + 1},
                              kChunk,  kOlder,  kChunk,  kH,
                              kKv,     kDh,     kFloats};
  return args;
}

cuda::RecurrentStepArgs stepArgs(std::int64_t gateColumns) {
  cuda::RecurrentStepArgs args;
  args.inputGate = args.recurrenceGate = matrix(kR, gateColumns);
  args.N = 1;
  args.R = kR;
  args.G = kG;
  args.K = kK;
  return args;
}

// ---- matrices and rows ----

std::vector<Case> rowCases() {
  const double chunkD = real(kChunk * kD);
  const double chunkE = real(kChunk * kE);
  const kernels::EmbedArgs embed{matrix(kV, kD), some<std::int32_t>(), 1.0F, 1, kFloats};
  const kernels::RmsNormArgs norm{kFloats, kFloats, 1e-6F, kChunk, kD, kFloats};
  const kernels::GatedActivationArgs gated{kFloats, kFloats, kFewRows * kE, Activation::geluTanh, kFloats};
  const kernels::BlockLinearArgs blocks{kFloats, matrix(kR, kB), kFloats, kFewRows, kG, kB, kFloats};
  return {
      {"1 token, bf16", [=] { cuda::embed(embed, kStream); }, {{"embed_kernel", {opCost(embed)}}}},
      {"4,096 rows", [=] { cuda::rmsNorm(norm, kStream); }, {{"rms_norm_kernel", {opCost(norm)}}}},
      {"8 rows of 7,680",
       [=] { cuda::gatedActivation(gated, kStream); },
       {{"gated_activation_kernel", {opCost(gated)}}}},
      {"gates of 8 rows, bf16",
       [=] { cuda::blockLinear(blocks, kStream); },
       {{"block_linear_kernel", {opCost(blocks)}}}},
      {"norm of 4,096 rows, to bf16",
       [] {
         cuda::operand({kFloats, kFloats, 1e-6F, kChunk, kD, DType::bf16, kFloats}, kStream);
       },
       {{"operand_kernel", {{chunkD * (kF32 + kBf16) + kF32 * real(kD), 4 * chunkD}}}}},
      {"4,096 rows of 7,680, bf16 to bf16",
       [] {
         cuda::gatedOperand({kFloats, kFloats, nullptr, nullptr, Activation::geluTanh, kChunk, kE,
                             DType::bf16, DType::bf16, kFloats},
                            kStream);
       },
       {{"gated_operand_kernel", {{chunkE * 3 * kBf16, 8 * chunkE}}}}},
      {"1 edit of all of 4,096 rows",
       [] {
         cuda::editColumns({kFloats, some<cuda::ColumnEdit>(), some<std::int64_t>(), kChunk, kD}, kStream);
       },
       {{"edit_columns_kernel", {{2 * kF32 * chunkD, chunkD}}}}},
      {"4,096 rows",
       [] {
         cuda::addTo({kFloats, kFloats, kChunk * kD}, kStream);
       },
       {{"add_to_kernel", {{3 * kF32 * chunkD, chunkD}}}}},
  };
}

void project(std::int64_t T, DType dtype, std::int64_t rows, std::int64_t cols) {
  cuda::PackedProjectionArgs args{kFloats, kFloats, 1e-6F, T, {}, false};
  args.outputs[0] = args.outputs[1] = {packed(dtype, rows, cols), nullptr, kFloats};
  cuda::packedProjections(args, kStream);
}

void projectGated(std::int64_t T, DType dtype, std::int64_t rows, std::int64_t cols) {
  const cuda::PackedRows weight = packed(dtype, rows, cols);
  cuda::packedGatedProjection(
      {kFloats, kFloats, 1e-6F, T, weight, weight, nullptr, nullptr, Activation::geluTanh, kFloats}, kStream);
}

std::vector<Case> productCases() {
  constexpr std::int64_t kSlice = 6528;  // rows of 2,560 that a slice of packedMatmul holds
  const double slice = real(kSlice * kD);
  const std::string longest = "4 rows of 5,440";  // what packed_linear.cu gives 48 KiB
  return {
      {"norm, linear_x, linear_y of 1 token, bf16",
       [] {
         cuda::ProjectionArgs args{kFloats, kFloats, 1e-6F, 1, {}, false};
         args.outputs[0] = args.outputs[1] = {matrix(kR, kD), nullptr, kFloats};
         cuda::projections(args, kStream);
       },
       {{"projections_kernel", {products(DType::bf16, {kR, kR}, kD, 1)}}}},
      {"norm, gate, up, GeGLU of 1 token, bf16",
       [] {
         cuda::gatedProjection({kFloats, kFloats, 1e-6F, 1, matrix(kE, kD), matrix(kE, kD), nullptr, nullptr,
                                Activation::geluTanh, kFloats},
                               kStream);
       },
       {{"gated_projection_kernel", {products(DType::bf16, {kE, kE}, kD, 1)}}}},
      {"norm, linear_x, linear_y of 1 token, int8",
       [] { project(1, DType::int8, kR, kD); },
       {{"packed_projections_kernel", {products(DType::int8, {kR, kR}, kD, 1)}}},
       [] { project(4, DType::int8, kR, 5440); },
       longest},
      {"norm, gate, up, GeGLU of 1 token, int8",
       [] { projectGated(1, DType::int8, kE, kD); },
       {{"packed_gated_projection_kernel", {products(DType::int8, {kE, kE}, kD, 1)}}},
       [] { projectGated(4, DType::int8, kE, 5440); },
       longest},
      {"6,528 rows of 2,560 int8, a slice of 32 MiB",
       [] {
         cuda::PackedMatmulArgs args{some<void>(), packed(DType::int8, kSlice, kD), nullptr, kChunk, kFloats};
         args.workspace = some<void>();
         cuda::packedMatmul(args, nullptr, kStream);
       },
       {{"widen_rows_kernel", {{products(DType::int8, {kSlice}, kD, 0).bytes + kBf16 * slice, slice}}}}},
      {"without cuBLAS, gate of 4,096 rows, bf16",
       [] {
         cuda::matmul({some<void>(), matrix(kE, kD), nullptr, kChunk, kFloats}, nullptr, kStream);
       },
       {{"matmul_kernel", {products(DType::bf16, {kE}, kD, kChunk, kBf16), Unit::tensor}}}},
  };
}

// ---- the recurrent block ----

std::vector<Case> recurrentCases() {
  const double chunkR = real(kChunk * kR);
  const cuda::RecurrentStepArgs step = stepArgs(kB);
  cuda::ComplexRecurrentStepArgs complexStep;
  complexStep.block = stepArgs(kB / 2);
  cuda::RgLruBatchArgs scan;
  scan.rows.T = kChunk;
  scan.rows.R = kR;
  scan.states = some<float*>();
  scan.sequences = oneSequence();
  scan.y = kFloats;
  scan.operandType = DType::bf16;
  scan.operand = some<void>();
  kernels::ComplexRgLruArgs complexScan;
  complexScan.T = kChunk;
  complexScan.C = kR / 2;
  const OpCost complexCost = opCost(complexScan);
  const double summaries = kF32 * real(cuda::complexRgLruWorkspace(kChunk, kR / 2));
  const cuda::ConvRingArgs conv{kFloats, some<float*>(), kFloats, kFloats, oneSequence(), kChunk, kR,
                                kK,      kFloats};
  return {
      {"1 token, bf16",
       [=] { cuda::recurrentStep(step, kStream); },
       {{"recurrent_step_kernel", {recurrentStep(DType::bf16, 1, false)}}}},
      {"1 token, bf16, 1,280 complex channels",
       [=] { cuda::complexRecurrentStep(complexStep, kStream); },
       {{"complex_recurrent_step_kernel", {recurrentStep(DType::bf16, 1, true)}}}},
      {"4,096 tokens",
       [=] { cuda::conv1d(conv, kStream); },
       {{"conv1d_kernel",
         {opCost(kernels::Conv1dArgs{nullptr, nullptr, nullptr, nullptr, kChunk, kR, kK, nullptr})}},
        {"conv1d_ring_kernel", {{2 * kF32 * real(kK * kR), 0}}}}},
      // x, both gates and y are read, the operand is written.
      {"4,096 tokens, with output gate, to bf16",
       [=] { cuda::rgLru(scan, kStream); },
       {{"rg_lru_kernel", {{chunkR * (4 * kF32 + kBf16) + 3 * kF32 * real(kR), 20 * chunkR}}}}},
      {"4,096 tokens of 1,280 complex channels",
       [=] { cuda::complexRgLru(complexScan, kFloats, kStream); },
       // The first pass reads what the second does and leaves a factor and a state for each 128 tokens.
       {{"complex_rg_lru_summary_kernel",
         {{complexCost.bytes - 2 * kF32 * chunkR / 2 + summaries, complexCost.flops}}},
        {"complex_rg_lru_kernel", {{complexCost.bytes + summaries, complexCost.flops}}}}},
      // 33 passes over the decays, which stay in the cache, five comparisons each.
      {"1 token, 18 layers",
       [] {
         cuda::tapSummary({kFloats, kFloats, kFloats, kFloats, kFloats, 7 * kR, kLayers, 1, kR, kR, kFloats},
                          kStream);
       },
       {{"tap_summary_kernel",
         {{kF32 * real(kLayers * (5 * kR + cuda::kTapSummary)), real(kLayers * kR) * (33 * 5 + 8)}}}}},
  };
}

// ---- attention ----

std::vector<Case> attentionCases() {
  const kernels::AttentionArgs chunk = chunkAttention();
  kernels::AttentionArgs shown = chunk;
  shown.weights = kFloats;
  shown.span = kOlder + 1;
  const double weights = real(kChunk * kH * shown.span);
  const double queries = real(kChunk * kH * kDh);
  const double seen = real((kOlder + kChunk) * kKv * kDh);  // of keys, and as many of values
  const double parts = kF32 * real(cuda::decodeAttentionWorkspace(1, kH, kDh, kSplits));
  const double outs = real(kH * kDh);
  const double keys = real((kOlder + 1) * kKv * kDh);
  cuda::DecodeAttentionArgs decode;
  decode.rings.capacity = kOlder + 1;
  decode.older = kOlder;
  decode.N = 1;
  decode.H = kH;
  decode.kvHeads = kKv;
  decode.Dh = kDh;
  decode.splits = kSplits;
  cuda::RopeAppendArgs append;
  append.N = 1;
  append.H = kH;
  append.kvHeads = kKv;
  append.Dh = kDh;
  append.rotary = kRotary;
  const double angles = kF32 * real(kChunk * kRotary);
  const double ring = real((kOlder + 1) * kKv * kDh);
  return {
      {"4,096 tokens",
       [] {
         cuda::ropeTable({some<std::int64_t>(), 10000.0, kChunk, kRotary, kFloats}, kStream);
       },
       {{"rope_table_kernel", {{angles + 8 * real(kChunk), 3 * real(kChunk * kRotary / 2)}}}}},
      {"queries of 4,096 tokens",
       [] {
         cuda::rope({kFloats, kFloats, kChunk, kH, kDh, kRotary}, kStream);
       },
       {{"rope_kernel",
         {{2 * kF32 * real(kChunk * kH * kRotary) + angles, 6 * real(kChunk * kH * kRotary / 2)}}}}},
      {"4,096 tokens, 2,049 of them kept",
       [] {
         cuda::ringAppend({kFloats, kFloats, {kFloats, kFloats, kOlder + 1}, kChunk, kChunk, kKv, kDh},
                          kStream);
       },
       {{"ring_append_kernel", {{4 * kF32 * ring, 0}}}}},
      {"1 token",
       [=] { cuda::ropeAppend(append, kStream); },
       {{"rope_append_kernel",
         {{kF32 * real(2 * kH * kRotary + 4 * kKv * kDh + kRotary), 6 * real((kH + kKv) * kRotary / 2)}}}}},
      {"1 token, 2,049 keys in 32 parts",
       [=] { cuda::decodeAttention(decode, kStream); },
       {{"decode_attention_kernel", {{kF32 * (outs + 2 * keys) + parts, 4 * keys * real(kH)}}},
        {"decode_attention_join_kernel", {{parts + kF32 * outs, 2 * real(kSplits) * outs}}}}},
      {"f32 model: 4,096 tokens from position 4,096 on",
       [=] { cuda::attention(chunk, kFloats, kStream); },
       {{"attention_kernel", {opCost(chunk)}}}},
      {"the same, weights shown",
       [=] { cuda::attention(shown, kFloats, kStream); },
       {{"attention_weights_kernel", {{2 * kF32 * weights, 3 * weights}}}}},
      {"4,096 tokens from position 4,096 on",
       [=] {
         cuda::tensorAttention({chunk, some<void>(), nullptr, some<void>()}, kStream);
       },
       {{"round_seen_kernel", {{2 * seen * (kF32 + kBf16), 0}}},
        {"tensor_attention_kernel",
         {{queries * (kF32 + kBf16) + 2 * seen * kBf16, opCost(chunk).flops}, Unit::tensor}}}},
  };
}

// ---- the head ----

// Candidates of all blocks of all rounds of topK but the last, which is one block.
double roundCandidates() {
  double all = 0;
  for (std::int64_t count = kV; count > 2048; count = (count + 2047) / 2048 * kRanked) all += real(count);
  return all;
}

std::vector<Case> headCases() {
  constexpr double kSpan = 2048;
  constexpr double kSteps = 66 * kSpan / 2;  // comparisons of a bitonic sort of so many
  const double logits = real(kV);
  const double sums = kF32 * real(cuda::logitStatsWorkspace(kV));
  const double candidates = roundCandidates();
  const double kept = 8 * candidates * real(kRanked) / kSpan;
  const kernels::TopKArgs top{kFloats, kV, kRanked, some<std::int32_t>(), kFloats};
  kernels::DrawArgs draw;
  draw.rows = 1;
  draw.V = kV;
  draw.known = kRanked;
  return {
      {"256,000 logits",
       [] {
         cuda::softCap({kFloats, kV, 30.0F}, kStream);
       },
       {{"soft_cap_kernel", {{2 * kF32 * logits, 3 * logits}}}}},
      {"256,000 logits, and scaled by a temperature",
       [] {
         cuda::logitStats(
             {kFloats, 1, kV, some<kernels::LogitStats>(), kFloats, some<kernels::LogitStats>(), kFloats},
             kStream);
       },
       {{"logit_sums_kernel", {{kF32 * logits + sums, 10 * logits}}},
        {"logit_stats_kernel", {{sums + 2 * sizeof(kernels::LogitStats), 5 * sums / kF32}}}}},
      {"256 of 256,000 logits, 3 rounds and the last",
       [=] { cuda::topK(top, some<std::uint64_t>(), kStream); },
       {{"top_k_round_kernel",
         {{kF32 * logits + 8 * (candidates - logits) + kept, candidates / kSpan * kSteps}}},
        {"top_k_kernel", {{8.0 * 2 * real(kRanked) + 8 * real(kRanked), kSteps}}}}},
      {"among 256 logits; a weight takes some 24 operations, their sums 8",
       [=] { cuda::draw(draw, kStream); },
       {{"draw_kernel", {{kF32 * real(kRanked), 32 * real(kRanked)}}}}},
      {"whether a card runs anything",
       [] {
         try {
           cuda::probeDevice();
         } catch (const cuda::CudaError&) {  // nothing ran: NOLINT(bugprone-empty-catch)
         }
       },
       {{"probe_kernel", {{kF32, 0}}}}},
  };
}

std::vector<Case> allCases() {
  std::vector<Case> all;
  for (const auto& cases : {rowCases(), productCases(), recurrentCases(), attentionCases(), headCases()})
    all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

std::string sharedOf(const Case& one, const std::string& kernel) {
  const Launched here = launched(one.launch);
  const auto found = here.find(kernel);
  if (found == here.end()) throw std::runtime_error(kernel + ": expected to be launched by its row, was not");
  std::string text = number(static_cast<double>(found->second), 9);
  if (one.largest)
    text += fmt::format("; {}: {}", one.largestAt,
                        number(static_cast<double>(launched(one.largest).at(kernel)), 9));
  return text;
}

}  // namespace

std::vector<std::string> kernelTable() {
  std::vector<std::string> lines{"| kernel | at | dynamic shared, bytes | MB | MFLOP | µs |",
                                 "|---|---|---|---|---|---|"};
  for (const Case& one : allCases())
    for (const auto& [kernel, floor] : one.kernels)
      lines.push_back(fmt::format("| `{}` | {} | {} | {} | {} | {} |", kernel, one.at, sharedOf(one, kernel),
                                  number(floor.cost.bytes / 1e6), number(floor.cost.flops / 1e6),
                                  microseconds(floor)));
  return lines;
}

std::vector<std::string> kernelsWithRows() {
  std::vector<std::string> names;
  for (const Case& one : allCases())
    for (const KernelFloor& row : one.kernels) names.push_back(row.kernel);
  return names;
}

}  // namespace eyrie::bench
