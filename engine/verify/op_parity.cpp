#include "engine/verify/op_parity.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/cpu_ops.h"
#include "engine/verify/test_models.h"

namespace eyrie::engine::verify {
namespace {

using kernels::DType;
using kernels::MatrixView;
using Values = std::vector<float>;

// One op at one shape: what `ops` gives, everything it wrote. `broken` makes one argument wrong.
using OpRun = std::function<Values(const CpuOps& ops, kernels::ThreadPool& pool, bool broken)>;

struct OpCase {
  std::string name;
  Tolerance tolerance;
  OpRun run;
};

// Random matrix stored in `dtype`.
struct StoredMatrix {
  std::vector<std::byte> bytes;
  MatrixView view;
};

std::shared_ptr<StoredMatrix> randomMatrix(TestRandom& random, std::int64_t rows, std::int64_t cols,
                                           DType dtype) {
  auto matrix = std::make_shared<StoredMatrix>();
  Values values(static_cast<std::size_t>(rows * cols));
  for (float& value : values) value = random.normal() / std::sqrt(static_cast<float>(cols));
  matrix->bytes = stored(values, dtype);
  matrix->view = {matrix->bytes.data(), dtype, rows, cols};
  return matrix;
}

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

OpCase linearCase(TestRandom& random, std::int64_t T, DType dtype) {
  const std::int64_t rows = 67;
  const std::int64_t cols = 93;
  const auto weight = randomMatrix(random, rows, cols, dtype);
  const Values x = random.normals(T * cols);
  const Values bias = random.normals(rows);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out(count(T * rows));
    ops.linear({x.data(), weight->view, broken ? nullptr : bias.data(), T, out.data()}, pool);
    return out;
  };
  return {fmt::format("linear, {} rows, {}", T, kernels::dtypeName(dtype)), kOpSum, run};
}

OpCase blockLinearCase(TestRandom& random, std::int64_t T, std::int64_t N, DType dtype) {
  const std::int64_t G = 3;
  const std::int64_t B = 22;
  const auto weight = randomMatrix(random, G * B, N, dtype);
  const Values x = random.normals(T * G * B);
  const Values bias = random.normals(G * N);
  // Broken: every output one channel too far.
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out(count(T * G * N));
    ops.blockLinear({x.data(), weight->view, bias.data(), T, G, B, out.data()}, pool);
    if (broken) std::rotate(out.begin(), out.begin() + 1, out.end());
    return out;
  };
  return {fmt::format("blockLinear, {} rows, {} to {}, {}", T, B, N, kernels::dtypeName(dtype)), kOpSum, run};
}

OpCase embedCase(TestRandom& random, DType dtype) {
  const std::int64_t T = 9;
  const auto table = randomMatrix(random, 31, 37, dtype);
  const std::vector<std::int32_t> tokens = random.tokens(T, 31);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out(count(T * 37));
    ops.embed(
        {table->view, tokens.data(), broken ? std::sqrt(37.0F) : kernels::embeddingScale(37), T, out.data()},
        pool);
    return out;
  };
  return {fmt::format("embed, {}", kernels::dtypeName(dtype)), kOpElementwise, run};
}

OpCase rmsNormCase(TestRandom& random, std::int64_t D) {
  const std::int64_t T = 5;
  const Values x = random.normals(T * D, 1e-3F);
  const Values weight = random.normals(D, 0.1F);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out(count(T * D));
    ops.rmsNorm({x.data(), weight.data(), broken ? 1e-5F : 1e-6F, T, D, out.data()}, pool);
    return out;
  };
  return {fmt::format("rmsNorm, width {} (trap 16)", D), kOpSum, run};
}

OpCase conv1dCase(TestRandom& random, std::int64_t T) {
  const std::int64_t R = 45;
  const std::int64_t K = 4;
  const Values x = random.normals(T * R);
  const Values tail = random.normals((K - 1) * R);
  const Values weight = random.normals(K * R);
  Values reversed;
  for (std::int64_t tap = K - 1; tap >= 0; --tap) {
    reversed.insert(reversed.end(), weight.begin() + tap * R, weight.begin() + (tap + 1) * R);
  }
  const Values bias = random.normals(R);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values after = tail;
    Values out(count(T * R));
    const Values& taps = broken ? reversed : weight;
    ops.conv1d({x.data(), after.data(), taps.data(), bias.data(), T, R, K, out.data()}, pool);
    out.insert(out.end(), after.begin(), after.end());
    return out;
  };
  return {fmt::format("conv1d, {} rows (trap 10)", T), kOpSum, run};
}

OpCase rgLruCase(TestRandom& random, std::int64_t T, bool starts) {
  const std::int64_t R = 45;
  const Values x = random.normals(T * R);
  const Values recurrence = random.normals(T * R, 2);
  const Values input = random.normals(T * R, 2);
  const Values state = random.normals(R);
  Values rate(count(R));
  for (float& value : rate) value = kernels::decayRateOf(-4 + 2 * random.normal());
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values h = state;
    Values out(count(7 * T * R));
    kernels::RgLruArgs args;
    args.x = x.data();
    args.recurrencePre = broken ? input.data() : recurrence.data();
    args.inputPre = broken ? recurrence.data() : input.data();
    args.decayRate = rate.data();
    args.state = h.data();
    args.startsSequence = starts;
    args.T = T;
    args.R = R;
    args.out = out.data();
    float* tap = out.data();
    for (float** slot : {&args.taps.recurrenceGate, &args.taps.inputGate, &args.taps.logDecay,
                         &args.taps.decay, &args.taps.write, &args.taps.keep}) {
      *slot = tap += T * R;
    }
    ops.rgLru(args, pool);
    out.insert(out.end(), h.begin(), h.end());
    return out;
  };
  return {fmt::format("rgLru, {} rows{} (traps 3, 5, 7)", T, starts ? " from position 0" : ""), kOpScan, run};
}

OpCase complexRgLruCase(TestRandom& random, std::int64_t T, bool starts) {
  const std::int64_t C = 23;
  const Values x = random.normals(2 * T * C);
  const Values recurrence = random.normals(T * C, 2);
  const Values input = random.normals(T * C, 2);
  const Values state = random.normals(2 * C);
  const Values angle = random.normals(C);
  Values rate(count(C));
  for (float& value : rate) value = kernels::decayRateOf(-4 + 2 * random.normal());
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values h = state;
    Values out(count(11 * T * C));
    kernels::ComplexRgLruArgs args;
    args.x = x.data();
    args.recurrencePre = broken ? input.data() : recurrence.data();
    args.inputPre = broken ? recurrence.data() : input.data();
    args.decayRate = rate.data();
    args.angleRate = angle.data();
    args.state = h.data();
    args.startsSequence = starts;
    args.T = T;
    args.C = C;
    args.out = out.data();
    float* tap = out.data() + 2 * T * C;
    for (float** slot : {&args.taps.recurrenceGate, &args.taps.inputGate, &args.taps.logDecay,
                         &args.taps.decay, &args.taps.angle}) {
      *slot = tap;
      tap += T * C;
    }
    args.taps.write = tap;
    args.taps.keep = tap + 2 * T * C;
    ops.complexRgLru(args, pool);
    out.insert(out.end(), h.begin(), h.end());
    return out;
  };
  return {fmt::format("complexRgLru, {} rows{} (traps 3, 5, 7)", T, starts ? " from position 0" : ""),
          kOpScan, run};
}

OpCase activationCase(TestRandom& random, kernels::Activation activation) {
  const std::int64_t n = 157;
  const Values gate = random.normals(n, 3);
  const Values up = random.normals(n);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out(count(n));
    ops.gatedActivation(
        {broken ? up.data() : gate.data(), broken ? gate.data() : up.data(), n, activation, out.data()},
        pool);
    return out;
  };
  return {fmt::format("gatedActivation, kind {} (trap 14)", static_cast<int>(activation)), kOpElementwise,
          run};
}

OpCase ropeCase(TestRandom& random, std::int64_t position) {
  const std::int64_t T = 3;
  const std::int64_t heads = 2;
  const std::int64_t Dh = 22;
  const Values x = random.normals(T * heads * Dh);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out = x;
    ops.rope({out.data(), position, 10000.0, T, heads, Dh, broken ? Dh : 10}, pool);
    return out;
  };
  return {fmt::format("rope, position {} (traps 20, 21)", position), kOpSum, run};
}

OpCase attentionCase(TestRandom& random, std::int64_t T, std::int64_t firstPosition, std::int64_t older) {
  const std::int64_t H = 4;
  const std::int64_t kvHeads = 2;
  const std::int64_t Dh = 11;
  const std::int64_t capacity = std::max<std::int64_t>(1, std::min(older, firstPosition));
  const std::int64_t span = older + 1;
  const Values q = random.normals(T * H * Dh, 2);
  const Values k = random.normals(T * kvHeads * Dh);
  const Values v = random.normals(T * kvHeads * Dh);
  const Values keys = random.normals(capacity * kvHeads * Dh);
  const Values values = random.normals(capacity * kvHeads * Dh);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values ringKeys = keys;
    Values ringValues = values;
    Values out(count(T * H * (Dh + span)));
    kernels::AttentionArgs args;
    args.q = q.data();
    args.k = k.data();
    args.v = v.data();
    args.ring = {ringKeys.data(), ringValues.data(), capacity};
    args.firstPosition = firstPosition;
    args.older = broken ? older - 1 : older;
    args.T = T;
    args.H = H;
    args.kvHeads = kvHeads;
    args.Dh = Dh;
    args.out = out.data();
    args.weights = out.data() + T * H * Dh;
    args.span = span;
    ops.attention(args, pool);
    return out;
  };
  return {fmt::format("attention, {} rows from {}, window {} (traps 22, 26)", T, firstPosition, older),
          kOpAttention, run};
}

OpCase softCapCase(TestRandom& random) {
  const Values logits = random.normals(211, 20);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out = logits;
    ops.softCap({out.data(), 211, broken ? 0.0F : 30.0F}, pool);
    return out;
  };
  return {"softCap (traps 27, 28)", kOpElementwise, run};
}

OpCase statsCase(TestRandom& random) {
  Values logits = random.normals(1003, 3);
  logits.back() = 6;  // heavy enough that losing it shows
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    const kernels::LogitStats stats = ops.logitStats(logits.data(), broken ? 1002 : 1003, pool);
    return Values{stats.max, stats.logSumExp, stats.entropy};
  };
  return {"logitStats", kOpSum, run};
}

OpCase topKCase(TestRandom& random) {
  const Values logits = random.normals(1003, 3);
  const auto run = [=](const CpuOps& ops, kernels::ThreadPool& pool, bool broken) {
    Values out(9);
    std::vector<std::int32_t> indices(9);
    ops.topK({logits.data(), 1003, broken ? 8 : 9, indices.data(), out.data()}, pool);
    out.insert(out.end(), indices.begin(), indices.end());
    return out;
  };
  return {"topK", kSameBits, run};
}

std::vector<OpCase> allCases() {
  TestRandom random(11);
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const std::int64_t T : {1, 3, 35}) {
      cases.push_back(linearCase(random, T, dtype));
      for (const std::int64_t N : {22, 11}) cases.push_back(blockLinearCase(random, T, N, dtype));
    }
    cases.push_back(embedCase(random, dtype));
  }
  for (const std::int64_t D : {1, 7, 64, 133}) cases.push_back(rmsNormCase(random, D));
  for (const std::int64_t T : {1, 2, 9}) cases.push_back(conv1dCase(random, T));
  for (const std::int64_t T : {1, 2, 70}) {
    cases.push_back(rgLruCase(random, T, true));
    cases.push_back(rgLruCase(random, T, false));
    cases.push_back(complexRgLruCase(random, T, true));
    cases.push_back(complexRgLruCase(random, T, false));
  }
  for (const auto kind : {kernels::Activation::geluTanh, kernels::Activation::silu, kernels::Activation::gelu,
                          kernels::Activation::relu}) {
    cases.push_back(activationCase(random, kind));
  }
  for (const std::int64_t position : {std::int64_t{0}, std::int64_t{257}, std::int64_t{100000}}) {
    cases.push_back(ropeCase(random, position));
  }
  cases.push_back(attentionCase(random, 1, 40, 16));
  cases.push_back(attentionCase(random, 35, 0, 8));
  cases.push_back(attentionCase(random, 35, 21, 8));
  cases.push_back(softCapCase(random));
  cases.push_back(statsCase(random));
  cases.push_back(topKCase(random));
  return cases;
}

}  // namespace

std::vector<CheckResult> checkOpParity(int threads) {
  kernels::ThreadPool pool(threads);
  std::vector<CheckResult> results;
  for (const OpCase& op : allCases()) {
    const Values expected = op.run(referenceOps(), pool, false);
    results.push_back(compareArrays(op.name, op.run(fastOps(), pool, false), expected, op.tolerance));
    const CheckResult broken = compareArrays(op.name, op.run(fastOps(), pool, true), expected, op.tolerance);
    results.push_back(mustReject(op.name + " · rejects a wrong argument", broken));
  }
  return results;
}

}  // namespace eyrie::engine::verify
