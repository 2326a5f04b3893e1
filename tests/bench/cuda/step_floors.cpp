// Whole steps and chunks of RecurrentGemma 2B. What kernels of one row hand each other is not counted.
#include <fmt/core.h>

#include <array>

#include "tests/bench/cuda/floors.h"

namespace eyrie::bench {
namespace {

constexpr int kRecurrent = 18, kAttention = 8, kLayers = kRecurrent + kAttention;
constexpr double kF32 = 4;
constexpr double kAdded = 8;  // read and written: the residual stream
constexpr double kBf16 = 2;

struct Op {
  std::string what, kernel;
  int calls;
  Floor each;
};

double real(std::int64_t n) {
  return static_cast<double>(n);
}

double secondsOf(const std::vector<Op>& ops) {
  double all = 0;
  for (const Op& op : ops) all += op.calls * op.each.seconds();
  return all;
}

std::string rowOf(const Op& op) {
  const Floor& each = op.each;
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} |", op.what, op.kernel, op.calls,
                     number(each.cost.bytes / 1e6), number(each.cost.flops / 1e6), microseconds(each),
                     number(1e6 * op.calls * each.seconds()));
}

std::string totalOf(const std::vector<Op>& ops) {
  OpCost all;
  for (const Op& op : ops) {
    all.bytes += op.calls * op.each.cost.bytes;
    all.flops += op.calls * op.each.cost.flops;
  }
  return fmt::format("| together | | | {} | {} | | {} |", number(all.bytes / 1e6, 4),
                     number(all.flops / 1e6, 4), number(1e6 * secondsOf(ops), 4));
}

OpCost attend(std::int64_t T, std::int64_t firstPosition, double outBytes) {
  kernels::AttentionArgs args;
  args.firstPosition = firstPosition;
  args.older = kOlder;
  args.T = T;
  args.H = kH;
  args.kvHeads = kKv;
  args.Dh = kDh;
  OpCost cost = opCost(args);
  cost.bytes += real(T * kH * kDh) * (outBytes - kF32);
  return cost;
}

OpCost times(double n, const OpCost& cost) {
  return {n * cost.bytes, n * cost.flops};
}

// One token of N sequences at position 4,096. Many: products on tensor cores (matmul.h).
std::vector<Op> stepOps(DType w, std::int64_t N) {
  const bool many = N > 8;
  const Unit unit = many ? Unit::tensor : Unit::plain;
  const std::string packed = w == DType::int8 || w == DType::int4 ? "packed_" : "";
  const std::string one = many ? "operand_kernel + product" : packed + "projections_kernel";
  const auto several = [&](int n) { return many ? fmt::format("operand_kernel + {} products", n) : one; };
  const std::string gated =
      many ? "operand_kernel + 2 products + gated_operand_kernel" : packed + "gated_projection_kernel";
  const double n = real(N);
  const double hidden = many ? kBf16 : kF32;  // of the MLP's inner values
  const double rope = kF32 * real(2 * kH * kRotary + 4 * kKv * kDh + kRotary);
  return {
      {"embed",
       "embed_kernel",
       1,
       {opCost(kernels::EmbedArgs{{nullptr, DType::bf16, kV, kD}, nullptr, 1, N, nullptr})}},
      {"norm, linear_x, linear_y", several(2), kRecurrent, {products(w, {kR, kR}, kD, N), unit}},
      {"convolution, gates, RG-LRU, output gate",
       "recurrent_step_kernel",
       kRecurrent,
       {recurrentStep(DType::bf16, N, false)}},
      {"linear_out", one, kRecurrent, {products(w, {kD}, kR, N, kF32, kAdded), unit}},
      {"norm, q, k, v", several(3), kAttention, {products(w, {kH * kDh, kKv * kDh, kKv * kDh}, kD, N), unit}},
      {"RoPE and ring",
       "rope_append_kernel",
       kAttention,
       {{n * rope, n * 6 * real((kH + kKv) * kRotary / 2)}}},
      {"attention over 2,049 keys",
       "decode_attention_kernel (+ join)",
       kAttention,
       {times(n, attend(1, 4096, kF32))}},
      {"output projection", one, kAttention, {products(w, {kD}, kH * kDh, N, kF32, kAdded), unit}},
      {"norm, gate, up, GeGLU",
       gated,
       kLayers,
       {{products(w, {kE, kE}, kD, N, kF32, 0).bytes + n * real(kE) * hidden,
         products(w, {kE, kE}, kD, N).flops},
        unit}},
      {"down", many ? "product" : one, kLayers, {products(w, {kD}, kE, N, hidden, kAdded), unit}},
      {"norm, head", one, 1, {products(w, {kV}, kD, N), unit}},
      {"soft cap, the first 256, likelihoods, draw",
       "soft_cap, top_k_round, top_k, logit_sums, logit_stats, draw",
       1,
       {{n * 4 * kF32 * real(kV), n * 13 * real(kV)}}},
  };
}

// Of T tokens from position 0, with the last row's logits.
std::vector<Op> chunkOps(std::int64_t T) {
  const DType w = DType::bf16;
  const auto product = [&](const std::vector<std::int64_t>& rows, std::int64_t cols, double in, double out) {
    return Floor{products(w, rows, cols, T, in, out), Unit::tensor};
  };
  const double rows = real(T);
  const double heads = real((kH + kKv) * kRotary);
  const kernels::Conv1dArgs conv{nullptr, nullptr, nullptr, nullptr, T, kR, kK, nullptr};
  const OpCost gates{2 * kBf16 * real(kR * kB) + 3 * kF32 * rows * real(kR), 4 * rows * real(kR * kB)};
  const OpCost mlp{products(w, {kE, kE}, kD, T, kF32, 0).bytes + kBf16 * rows * real(kE),
                   products(w, {kE, kE}, kD, T).flops};
  return {
      {"embed",
       "embed_kernel",
       1,
       {opCost(kernels::EmbedArgs{{nullptr, w, kV, kD}, nullptr, 1, T, nullptr})}},
      {"norm, linear_x, linear_y", "operand_kernel + 2 products", kRecurrent,
       product({kR, kR}, kD, kF32, kF32)},
      {"convolution", "conv1d_kernel + conv1d_ring_kernel", kRecurrent, {opCost(conv)}},
      {"gates", "operand_kernel + 2 products of blocks", kRecurrent, {gates, Unit::tensor}},
      {"RG-LRU, output gate",
       "rg_lru_kernel",
       kRecurrent,
       {{rows * real(kR) * (4 * kF32 + kBf16), 20 * rows * real(kR)}}},
      {"linear_out", "product", kRecurrent, product({kD}, kR, kBf16, kAdded)},
      {"norm, q, k, v", "operand_kernel + 3 products", kAttention,
       product({kH * kDh, kKv * kDh, kKv * kDh}, kD, kF32, kF32)},
      {"RoPE", "rope_kernel x2", kAttention, {{2 * kF32 * rows * heads, 3 * rows * heads}}},
      {"attention",
       "round_seen_kernel + tensor_attention_kernel",
       kAttention,
       {attend(T, 0, kBf16), Unit::tensor}},
      {"ring", "ring_append_kernel", kAttention, {{4 * kF32 * real((kOlder + 1) * kKv * kDh), 0}}},
      {"output projection", "product", kAttention, product({kD}, kH * kDh, kBf16, kAdded)},
      {"norm, gate, up, GeGLU",
       "operand_kernel + 2 products + gated_operand_kernel",
       kLayers,
       {mlp, Unit::tensor}},
      {"down", "product", kLayers, product({kD}, kE, kBf16, kAdded)},
      {"norm, head", "projections_kernel", 1, {products(w, {kV}, kD, 1)}},
      {"soft cap", "soft_cap_kernel", 1, {{2 * kF32 * real(kV), 3 * real(kV)}}},
  };
}

void addTable(std::vector<std::string>& lines, const std::string& title, const std::vector<Op>& ops) {
  lines.insert(lines.end(),
               {title, "", "| op | kernel | calls | MB a call | MFLOP a call | µs a call | µs in all |",
                "|---|---|---|---|---|---|---|"});
  for (const Op& op : ops) lines.push_back(rowOf(op));
  lines.push_back(totalOf(ops));
  lines.emplace_back();
}

// The same step with other weights, beside bf16.
void addQuantised(std::vector<std::string>& lines, const std::vector<Op>& bf16) {
  const std::array<std::vector<Op>, 2> others{stepOps(DType::int8, 1), stepOps(DType::int4, 1)};
  const double seconds = secondsOf(bf16);
  const std::array<double, 2> each{secondsOf(others[0]), secondsOf(others[1])};
  lines.push_back(
      fmt::format("The same token from int8 weights: {} µs, {:.2f} times bf16's tokens (goal 1.8); from "
                  "int4: {} µs, {:.2f} "
                  "times (goal 3).",
                  number(1e6 * each[0], 4), seconds / each[0], number(1e6 * each[1], 4), seconds / each[1]));
  lines.insert(lines.end(),
               {"", "| op | kernel | calls | int8: MB a call | µs in all | int4: MB a call | µs in all |",
                "|---|---|---|---|---|---|---|"});
  for (std::size_t i = 0; i < bf16.size(); ++i) {
    const Op& int8 = others[0][i];
    const Op& int4 = others[1][i];
    lines.push_back(
        fmt::format("| {} | {} | {} | {} | {} | {} | {} |", int8.what, int8.kernel, int8.calls,
                    number(int8.each.cost.bytes / 1e6), number(1e6 * int8.calls * int8.each.seconds()),
                    number(int4.each.cost.bytes / 1e6), number(1e6 * int4.calls * int4.each.seconds())));
  }
  lines.emplace_back();
}

}  // namespace

std::vector<std::string> stepTables() {
  std::vector<std::string> lines;
  const std::vector<Op> token = stepOps(DType::bf16, 1);
  const double seconds = secondsOf(token);
  addTable(lines,
           fmt::format("One token of one sequence at position 4096, bf16: {} µs, {} tokens a second at best.",
                       number(1e6 * seconds, 4), number(1 / seconds)),
           token);
  addQuantised(lines, token);
  const std::vector<Op> batch = stepOps(DType::bf16, 64);
  addTable(
      lines,
      fmt::format(
          "One token of each of 64 sequences at position 4096, bf16: {} µs, {} tokens a second, {:.0f} times "
          "those of one (goal 25).",
          number(1e6 * secondsOf(batch), 4), number(64 / secondsOf(batch)), 64 * seconds / secondsOf(batch)),
      batch);
  const std::vector<Op> chunk = chunkOps(8192);
  double flops = 0;
  for (const Op& op : chunk) flops += op.calls * op.each.cost.flops;
  addTable(
      lines,
      fmt::format("8192 tokens from position 0 as one chunk, bf16, the last row's logits: {:.3g} TFLOP in "
                  "{:.3g} ms, {:.0f} % "
                  "of the products' rate at best (goal 70).",
                  flops / 1e12, 1e3 * secondsOf(chunk), 100 * flops / kTensorFlopsASecond / secondsOf(chunk)),
      chunk);
  lines.pop_back();
  return lines;
}

}  // namespace eyrie::bench
