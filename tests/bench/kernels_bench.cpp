// Speed of every CPU kernel, at the built-in models' sizes and at RecurrentGemma 2B's. Each entry first
// compares with the scalar reference (a fast wrong kernel is not a result), then reports GB/s and FLOP/s from
// op_cost.h.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cpu/instruction_set.h"
#include "kernels/embed.h"
#include "kernels/logits.h"
#include "kernels/op_cost.h"
#include "kernels/packed_matrix.h"
#include "kernels/rope.h"
#include "kernels/sample.h"
#include "kernels/thread_pool.h"

namespace {

using namespace eyrie::kernels;

constexpr double kAllowedError = 1e-4;  // of the largest value: only to tell wrong from right

ThreadPool& allThreads() {
  static ThreadPool all(0);
  return all;
}

ThreadPool& poolOf(const benchmark::State& state) {
  static ThreadPool one(1);
  return state.range(0) == 1 ? one : allThreads();
}

std::vector<float> randomVector(std::int64_t n, float scale = 1.0F) {
  std::mt19937 engine(static_cast<std::uint32_t>(n));
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(engine);
  return values;
}

bool close(const std::vector<float>& actual, const std::vector<float>& expected,
           double error = kAllowedError) {
  float scale = 1e-30F;
  for (const float value : expected) scale = std::max(scale, std::abs(value));
  const double allowed = error * static_cast<double>(scale);
  return std::equal(actual.begin(), actual.end(), expected.begin(), expected.end(), [&](float a, float b) {
    return std::abs(static_cast<double>(a) - static_cast<double>(b)) <= allowed;  // of NaN false
  });
}

void report(benchmark::State& state, const OpCost& cost) {
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(cost.bytes / 1e9, Counter::kIsIterationInvariantRate);
  state.counters["GFLOP/s"] = Counter(cost.flops / 1e9, Counter::kIsIterationInvariantRate);
}

struct Weights {
  std::vector<std::uint16_t> half;
  std::vector<float> full;
  std::vector<std::byte> packed;
  MatrixView view;
};

Weights randomWeights(std::int64_t rows, std::int64_t cols, DType dtype) {
  Weights weights;
  weights.full = randomVector(rows * cols, 0.02F);
  for (const float value : weights.full) {
    weights.half.push_back(dtype == DType::f16 ? floatToF16(value) : floatToBf16(value));
  }
  const void* data =
      dtype == DType::f32 ? static_cast<const void*>(weights.full.data()) : weights.half.data();
  weights.view = {data, dtype, rows, cols};
  if (isPacked(dtype)) {
    weights.packed.resize(static_cast<std::size_t>(packedBytes(dtype, rows, cols)));
    cpu::pack({weights.full.data(), DType::f32, rows, cols}, dtype, weights.packed.data(), allThreads());
    weights.view.data = weights.packed.data();
  }
  return weights;
}

// One row of a linear layer, by the reference: all of many would take minutes.
std::vector<float> linearRow(const LinearArgs& args, std::int64_t t) {
  std::vector<float> row(static_cast<std::size_t>(args.weight.rows));
  reference::linear({args.x + t * args.weight.cols, args.weight, nullptr, 1, row.data()});
  return row;
}

// threads (1, or 0 = all), T, rows, cols, dtype
void linearBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const Weights weights = randomWeights(state.range(2), state.range(3), static_cast<DType>(state.range(4)));
  const std::vector<float> x = randomVector(T * weights.view.cols);
  std::vector<float> out(static_cast<std::size_t>(T * weights.view.rows));
  const LinearArgs args{x.data(), weights.view, nullptr, T, out.data()};
  cpu::linear(args, poolOf(state));
  // Many tokens are rounded to bytes (cpu/packed_blocks.h).
  const double error = isPacked(weights.view.dtype) && T >= 64 ? 2.5e-2 : kAllowedError;
  for (const std::int64_t t : {std::int64_t{0}, T - 1}) {
    const auto row = out.begin() + t * weights.view.rows;
    if (!close({row, row + weights.view.rows}, linearRow(args, t), error))
      state.SkipWithError("wrong result");
  }
  for (auto _ : state) cpu::linear(args, poolOf(state));
  report(state, opCost(args));
}

// threads, rows, cols, dtype: quantising a bf16 matrix, to the reference's very bytes.
void packBench(benchmark::State& state) {
  const Weights weights = randomWeights(state.range(1), state.range(2), DType::bf16);
  const auto to = static_cast<DType>(state.range(3));
  std::vector<std::byte> out(static_cast<std::size_t>(packedBytes(to, weights.view.rows, weights.view.cols)));
  std::vector<std::byte> expected(out.size());
  cpu::pack(weights.view, to, out.data(), poolOf(state));
  reference::pack(weights.view, to, expected.data());
  if (out != expected) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::pack(weights.view, to, out.data(), poolOf(state));
  const double bytes = static_cast<double>(matrixBytes(weights.view)) + static_cast<double>(out.size());
  state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

void blockLinearBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t G = state.range(2);
  const std::int64_t B = state.range(3);
  const Weights weights = randomWeights(G * B, B, DType::bf16);
  const std::vector<float> x = randomVector(T * G * B);
  std::vector<float> out(x.size());
  std::vector<float> expected(x.size());
  const BlockLinearArgs args{x.data(), weights.view, nullptr, T, G, B, out.data()};
  cpu::blockLinear(args, poolOf(state));
  BlockLinearArgs plain = args;
  plain.out = expected.data();
  reference::blockLinear(plain);
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::blockLinear(args, poolOf(state));
  report(state, opCost(args));
}

void rmsNormBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t D = state.range(2);
  const std::vector<float> x = randomVector(T * D);
  const std::vector<float> w = randomVector(D);
  std::vector<float> out(x.size());
  std::vector<float> expected(x.size());
  const RmsNormArgs args{x.data(), w.data(), 1e-6F, T, D, out.data()};
  cpu::rmsNorm(args, poolOf(state));
  reference::rmsNorm({x.data(), w.data(), 1e-6F, T, D, expected.data()});
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::rmsNorm(args, poolOf(state));
  report(state, opCost(args));
}

void conv1dBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t R = state.range(2);
  const std::vector<float> x = randomVector(T * R);
  const std::vector<float> w = randomVector(4 * R);
  const std::vector<float> bias = randomVector(R);
  std::vector<float> tail(static_cast<std::size_t>(3 * R));
  std::vector<float> plainTail = tail;
  std::vector<float> out(x.size());
  std::vector<float> expected(x.size());
  const Conv1dArgs args{x.data(), tail.data(), w.data(), bias.data(), T, R, 4, out.data()};
  cpu::conv1d(args, poolOf(state));
  reference::conv1d({x.data(), plainTail.data(), w.data(), bias.data(), T, R, 4, expected.data()});
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::conv1d(args, poolOf(state));
  report(state, opCost(args));
}

// threads, T, R; `changed`: with overrides, which halve the states
void scanBench(benchmark::State& state, bool changed) {
  const std::int64_t T = state.range(1);
  const std::int64_t R = state.range(2);
  const std::vector<float> x = randomVector(T * R);
  const std::vector<float> recurrence = randomVector(T * R, 2.0F);
  const std::vector<float> input = randomVector(T * R, 1.5F);
  const std::vector<float> rate(static_cast<std::size_t>(R), decayRateOf(-4.0F));
  std::vector<float> h(static_cast<std::size_t>(R));
  std::vector<float> plainState = h;
  std::vector<float> out(x.size());
  std::vector<float> expected(x.size());
  const std::vector<float> ones(h.size(), 1.0F);
  const std::vector<float> halves(h.size(), 0.5F);
  const std::vector<float> zeros(h.size());
  const RgLruOverrides::Channels same{ones.data(), zeros.data()};
  const RgLruOverrides overrides{same, same, same, same, {halves.data(), zeros.data()}};
  const RgLruArgs args{x.data(),
                       recurrence.data(),
                       input.data(),
                       rate.data(),
                       h.data(),
                       true,
                       T,
                       R,
                       out.data(),
                       {},
                       changed ? &overrides : nullptr};
  RgLruArgs plain = args;
  plain.state = plainState.data();
  plain.out = expected.data();
  cpu::rgLru(args, poolOf(state));
  reference::rgLru(plain);
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::rgLru(args, poolOf(state));
  report(state, opCost(args));
}

void rgLruBench(benchmark::State& state) {
  scanBench(state, false);
}
void rgLruOverriddenBench(benchmark::State& state) {
  scanBench(state, true);
}

void complexRgLruBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t C = state.range(2);
  const std::vector<float> x = randomVector(2 * T * C);
  const std::vector<float> recurrence = randomVector(T * C, 2.0F);
  const std::vector<float> input = randomVector(T * C, 1.5F);
  const std::vector<float> rate(static_cast<std::size_t>(C), decayRateOf(-4.0F));
  const std::vector<float> angle = randomVector(C, 0.3F);
  std::vector<float> h(static_cast<std::size_t>(2 * C));
  std::vector<float> plainState = h;
  std::vector<float> out(x.size());
  std::vector<float> expected(x.size());
  const ComplexRgLruArgs args{
      x.data(), recurrence.data(), input.data(), rate.data(), angle.data(), h.data(), true, T, C, out.data(),
      {}};
  ComplexRgLruArgs plain = args;
  plain.state = plainState.data();
  plain.out = expected.data();
  cpu::complexRgLru(args, poolOf(state));
  reference::complexRgLru(plain);
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::complexRgLru(args, poolOf(state));
  report(state, opCost(args));
}

// threads, T, older keys, heads, head size
void attentionBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t older = state.range(2);
  const std::int64_t H = state.range(3);
  const std::int64_t Dh = state.range(4);
  const std::vector<float> q = randomVector(T * H * Dh);
  const std::vector<float> k = randomVector(T * Dh);
  const std::vector<float> v = randomVector(T * Dh, 0.5F);
  std::vector<float> ringKeys = randomVector(older * Dh, 0.9F);
  std::vector<float> ringValues = randomVector(older * Dh, 0.8F);
  std::vector<float> out(q.size());
  std::vector<float> expected(q.size());
  const KvRing ring{ringKeys.data(), ringValues.data(), older};
  const AttentionArgs args{q.data(), k.data(), v.data(), ring,       2 * older, older, T,
                           H,        1,        Dh,       out.data(), nullptr,   0};
  AttentionArgs plain = args;
  plain.out = expected.data();
  cpu::attention(args, poolOf(state));
  reference::attention(plain);
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::attention(args, poolOf(state));
  report(state, opCost(args));
}

void ropeBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t heads = state.range(2);
  const std::int64_t Dh = state.range(3);
  std::vector<float> x = randomVector(T * heads * Dh);
  std::vector<float> expected = x;
  const RopeArgs args{x.data(), 1000, 10000.0, T, heads, Dh, Dh / 2};
  RopeArgs plain = args;
  plain.x = expected.data();
  cpu::rope(args, poolOf(state));
  reference::rope(plain);
  if (!close(x, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::rope(args, poolOf(state));
}

void gatedBench(benchmark::State& state) {
  const std::int64_t n = state.range(1);
  const std::vector<float> gate = randomVector(n);
  const std::vector<float> up = randomVector(n, 0.9F);
  std::vector<float> out(gate.size());
  std::vector<float> expected(gate.size());
  const GatedActivationArgs args{gate.data(), up.data(), n, Activation::geluTanh, out.data()};
  cpu::gatedActivation(args, poolOf(state));
  reference::gatedActivation({gate.data(), up.data(), n, Activation::geluTanh, expected.data()});
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::gatedActivation(args, poolOf(state));
  report(state, opCost(args));
}

// threads, T, D: rows of a table of 4096
void embedBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t D = state.range(2);
  const std::int64_t V = 4096;
  const Weights table = randomWeights(V, D, DType::bf16);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(T));
  for (std::int64_t t = 0; t < T; ++t)
    tokens[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t * 2654435761 % V);
  std::vector<float> out(static_cast<std::size_t>(T * D));
  std::vector<float> expected(out.size());
  const EmbedArgs args{table.view, tokens.data(), embeddingScale(D), T, out.data()};
  cpu::embed(args, poolOf(state));
  reference::embed({table.view, tokens.data(), embeddingScale(D), T, expected.data()});
  if (!close(out, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::embed(args, poolOf(state));
  report(state, opCost(args));
}

void softCapBench(benchmark::State& state) {
  const std::int64_t n = state.range(1);
  std::vector<float> logits = randomVector(n, 20.0F);
  std::vector<float> expected = logits;
  cpu::softCap({logits.data(), n, 30.0F}, poolOf(state));
  reference::softCap({expected.data(), n, 30.0F});
  if (!close(logits, expected)) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::softCap({logits.data(), n, 30.0F}, poolOf(state));
  state.counters["GB/s"] =
      benchmark::Counter(8.0 * static_cast<double>(n) / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

void logitStatsBench(benchmark::State& state) {
  const std::int64_t V = state.range(1);
  const std::vector<float> logits = randomVector(V, 5.0F);
  const LogitStats found = cpu::logitStats(logits.data(), V, poolOf(state));
  const LogitStats expected = reference::logitStats(logits.data(), V);
  if (!close({found.max, found.logSumExp, found.entropy},
             {expected.max, expected.logSumExp, expected.entropy}))
    state.SkipWithError("wrong result");
  for (auto _ : state) benchmark::DoNotOptimize(cpu::logitStats(logits.data(), V, poolOf(state)));
  state.counters["GB/s"] =
      benchmark::Counter(4.0 * static_cast<double>(V) / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

// threads, T, capacity, head size. Each position must lie in its slot.
void ringAppendBench(benchmark::State& state) {
  const std::int64_t T = state.range(1);
  const std::int64_t capacity = state.range(2);
  const std::int64_t Dh = state.range(3);
  const std::int64_t first = 3 * capacity - 1;
  const std::vector<float> k = randomVector(T * Dh);
  const std::vector<float> v = randomVector(T * Dh, 0.5F);
  std::vector<float> keys(static_cast<std::size_t>(capacity * Dh));
  std::vector<float> values(keys.size());
  const RingAppendArgs args{k.data(), v.data(), {keys.data(), values.data(), capacity}, first, T, 1, Dh};
  ringAppend(args);
  for (std::int64_t t = std::max<std::int64_t>(0, T - capacity); t < T; ++t) {
    const std::int64_t slot = (first + t) % capacity;
    const bool there = std::equal(k.data() + t * Dh, k.data() + (t + 1) * Dh, keys.data() + slot * Dh) &&
                       std::equal(v.data() + t * Dh, v.data() + (t + 1) * Dh, values.data() + slot * Dh);
    if (!there) state.SkipWithError("wrong result");
  }
  for (auto _ : state) ringAppend(args);
  state.counters["GB/s"] = benchmark::Counter(16.0 * static_cast<double>(T * Dh) / 1e9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void topKBench(benchmark::State& state) {
  const std::vector<float> logits = randomVector(state.range(1));
  const std::int64_t k = 50;
  std::vector<std::int32_t> indices(50);
  std::vector<std::int32_t> expected(50);
  std::vector<float> values(50);
  const TopKArgs args{logits.data(), state.range(1), k, indices.data(), values.data()};
  reference::topK({logits.data(), state.range(1), k, expected.data(), values.data()});
  cpu::topK(args, poolOf(state));
  if (indices != expected) state.SkipWithError("wrong result");
  for (auto _ : state) cpu::topK(args, poolOf(state));
}

// Of a whole vocabulary, as a draw needs them where nothing is ranked; on the caller's thread.
void drawWeightsBench(benchmark::State& state) {
  const std::int64_t V = state.range(1);
  const std::vector<float> logits = randomVector(V, 3.0F);
  const float largest = *std::max_element(logits.begin(), logits.end());
  if (cpu::weightOfAll(logits.data(), V, largest, 0.8F) !=
      reference::weightOfAll(logits.data(), V, largest, 0.8F))
    state.SkipWithError("wrong result");
  for (auto _ : state) benchmark::DoNotOptimize(cpu::weightOfAll(logits.data(), V, largest, 0.8F));
}

constexpr std::int64_t kF32 = static_cast<std::int64_t>(DType::f32);
constexpr std::int64_t kF16 = static_cast<std::int64_t>(DType::f16);
constexpr std::int64_t kBf16 = static_cast<std::int64_t>(DType::bf16);
constexpr std::int64_t kInt8 = static_cast<std::int64_t>(DType::int8);
constexpr std::int64_t kInt4 = static_cast<std::int64_t>(DType::int4);

// One thread is timed by its own CPU time, so that a busy machine distorts it less; all threads by the clock.
benchmark::internal::Benchmark* add(const char* name, void (*function)(benchmark::State&),
                                    std::int64_t threads) {
  auto* entry = benchmark::RegisterBenchmark(name, function);
  return threads == 1 ? entry : entry->UseRealTime();
}

void registerAll() {
  // A copy on the caller's thread.
  add("ringAppend", ringAppendBench, 1)->Args({1, 1, 2048, 256})->Args({1, 512, 2048, 256});
  add("drawWeights", drawWeightsBench, 1)->Args({1, 4096})->Args({1, 256000});
  for (const std::int64_t threads : {1, 0}) {
    auto* linear = add("linear", linearBench, threads);
    for (const std::int64_t T : {1, 4, 8, 16, 64, 512}) {
      linear->Args({threads, T, 480, 160, kF32})->Args({threads, T, 7680, 2560, kBf16});
    }
    linear->Args({threads, 1, 4096, 160, kF32});
    linear->Args({threads, 1, 7680, 2560, kF16})->Args({threads, 1, 7680, 2560, kF32});
    linear->Args({threads, 512, 7680, 2560, kF32});
    auto* packed = add("packedLinear", linearBench, threads);
    auto* pack = add("pack", packBench, threads);
    for (const std::int64_t dtype : {kInt8, kInt4}) {
      for (const std::int64_t T : {1, 16, 512}) {
        packed->Args({threads, T, 480, 160, dtype})->Args({threads, T, 7680, 2560, dtype});
      }
      pack->Args({threads, 480, 160, dtype})->Args({threads, 7680, 2560, dtype});
    }
    add("blockLinear", blockLinearBench, threads)
        ->Args({threads, 1, 5, 32})
        ->Args({threads, 1, 10, 256})
        ->Args({threads, 512, 10, 256});
    add("rmsNorm", rmsNormBench, threads)
        ->Args({threads, 1, 160})
        ->Args({threads, 1, 2560})
        ->Args({threads, 512, 2560});
    add("conv1d", conv1dBench, threads)
        ->Args({threads, 1, 160})
        ->Args({threads, 1, 2560})
        ->Args({threads, 512, 2560});
    add("rgLru", rgLruBench, threads)
        ->Args({threads, 1, 160})
        ->Args({threads, 1, 2560})
        ->Args({threads, 512, 2560});
    add("rgLruOverridden", rgLruOverriddenBench, threads)
        ->Args({threads, 1, 160})
        ->Args({threads, 1, 2560})
        ->Args({threads, 512, 2560});
    add("complexRgLru", complexRgLruBench, threads)
        ->Args({threads, 1, 80})
        ->Args({threads, 1, 1280})
        ->Args({threads, 512, 1280});
    add("attention", attentionBench, threads)
        ->Args({threads, 1, 128, 5, 32})
        ->Args({threads, 1, 2048, 10, 256})
        ->Args({threads, 512, 128, 5, 32})
        ->Args({threads, 256, 2048, 10, 256});
    add("rope", ropeBench, threads)
        ->Args({threads, 1, 5, 32})
        ->Args({threads, 1, 10, 256})
        ->Args({threads, 512, 10, 256});
    add("gatedActivation", gatedBench, threads)
        ->Args({threads, 480})
        ->Args({threads, 7680})
        ->Args({threads, 512 * 7680});
    add("embed", embedBench, threads)->Args({threads, 1, 2560})->Args({threads, 512, 2560});
    add("softCap", softCapBench, threads)->Args({threads, 4096})->Args({threads, 256000});
    add("logitStats", logitStatsBench, threads)->Args({threads, 4096})->Args({threads, 256000});
    add("topK", topKBench, threads)->Args({threads, 4096})->Args({threads, 256000});
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::AddCustomContext("instruction set", cpu::instructionSets().front());
  registerAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
