// The same bits each time for the same number of threads, and for single steps on any number of them: sizes
// are such that the work is really shared.
#include <functional>
#include <map>

#include "kernels/attention.h"
#include "kernels/conv1d.h"
#include "kernels/embed.h"
#include "kernels/gated_mlp.h"
#include "kernels/linear.h"
#include "kernels/logits.h"
#include "kernels/rg_lru.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/sample.h"
#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

using Values = std::vector<float>;
// T tokens' work on a pool: everything that was written.
using Op = std::function<Values(std::int64_t T, ThreadPool& pool)>;

Values linearOp(std::int64_t T, DType dtype, ThreadPool& pool) {
  const std::int64_t rows = 3001;
  const std::int64_t cols = 517;
  const StoredMatrix weight = randomMatrix(rows, cols, dtype, 1);
  const Values x = randomVector(T * cols, 2);
  const Values bias = randomVector(rows, 3);
  Values out(asSize(T * rows));
  cpu::linear({x.data(), weight.view, bias.data(), T, out.data()}, pool);
  return out;
}

Values blockLinearOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t G = 10;
  const std::int64_t B = 256;
  const StoredMatrix weight = randomMatrix(G * B, B, DType::bf16, 1);
  const Values x = randomVector(T * G * B, 2);
  const Values bias = randomVector(G * B, 3);
  Values out(x.size());
  cpu::blockLinear({x.data(), weight.view, bias.data(), T, G, B, out.data()}, pool);
  return out;
}

Values rmsNormOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t D = 8192;
  const Values x = randomVector(T * D, 2);
  const Values weight = randomVector(D, 3);
  Values out(x.size());
  cpu::rmsNorm({x.data(), weight.data(), 1e-6F, T, D, out.data()}, pool);
  return out;
}

Values conv1dOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t R = 40'000;
  const Values x = randomVector(T * R, 2);
  const Values weight = randomVector(4 * R, 3);
  const Values bias = randomVector(R, 4);
  Values tail = randomVector(3 * R, 5);
  Values out(x.size());
  cpu::conv1d({x.data(), tail.data(), weight.data(), bias.data(), T, R, 4, out.data()}, pool);
  out.insert(out.end(), tail.begin(), tail.end());
  return out;
}

Values rgLruOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t R = 10'000;
  const Values x = randomVector(T * R, 2);
  const Values recurrence = randomVector(T * R, 3, 2.0F);
  const Values input = randomVector(T * R, 4, 2.0F);
  const Values rate(asSize(R), decayRateOf(-4.0F));
  Values state = randomVector(R, 5);
  Values out(x.size());
  cpu::rgLru(
      {x.data(), recurrence.data(), input.data(), rate.data(), state.data(), false, T, R, out.data(), {}},
      pool);
  out.insert(out.end(), state.begin(), state.end());
  return out;
}

Values attentionOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t older = 900;
  const std::int64_t H = 10;
  const std::int64_t Dh = 128;
  const Values q = randomVector(T * H * Dh, 2);
  const Values k = randomVector(T * Dh, 3);
  const Values v = randomVector(T * Dh, 4);
  Values keys = randomVector(older * Dh, 5);
  Values values = randomVector(older * Dh, 6);
  Values out(q.size());
  AttentionArgs args;
  args.q = q.data();
  args.k = k.data();
  args.v = v.data();
  args.ring = {keys.data(), values.data(), older};
  args.firstPosition = 2 * older + 7;
  args.older = older;
  args.T = T;
  args.H = H;
  args.kvHeads = 1;
  args.Dh = Dh;
  args.out = out.data();
  cpu::attention(args, pool);
  return out;
}

Values ropeOp(std::int64_t T, ThreadPool& pool) {
  Values x = randomVector(T * 64 * 256, 2);
  cpu::rope({x.data(), 12'345, 10000.0, T, 64, 256, 128}, pool);
  return x;
}

Values gatedOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t n = T * 50'000;
  const Values gate = randomVector(n, 2);
  const Values up = randomVector(n, 3);
  Values out(asSize(n));
  cpu::gatedActivation({gate.data(), up.data(), n, Activation::geluTanh, out.data()}, pool);
  return out;
}

Values embedOp(std::int64_t T, ThreadPool& pool) {
  const StoredMatrix table = randomMatrix(40, 8192, DType::bf16, 1);
  std::vector<std::int32_t> tokens;
  for (std::int64_t t = 0; t < T; ++t) tokens.push_back(static_cast<std::int32_t>(t * 7 % 40));
  Values out(asSize(T * 8192));
  cpu::embed({table.view, tokens.data(), embeddingScale(8192), T, out.data()}, pool);
  return out;
}

// After the head: T rows' worth of logits as one.
Values logitsOp(std::int64_t T, ThreadPool& pool) {
  const std::int64_t V = T * 100'000;
  Values logits = randomVector(V, 2, 20.0F);
  cpu::softCap({logits.data(), V, 30.0F}, pool);
  const LogitStats stats = cpu::logitStats(logits.data(), V, pool);
  std::vector<std::int32_t> indices(50);
  Values top(50);
  cpu::topK({logits.data(), V, 50, indices.data(), top.data()}, pool);
  logits.insert(logits.end(), {stats.max, stats.logSumExp, stats.entropy});
  logits.insert(logits.end(), top.begin(), top.end());
  for (const std::int32_t index : indices) logits.push_back(static_cast<float>(index));
  return logits;
}

const std::map<std::string, Op>& ops() {
  static const std::map<std::string, Op> kOps = {
      {"linear f32", [](std::int64_t T, ThreadPool& pool) { return linearOp(T, DType::f32, pool); }},
      {"linear bf16", [](std::int64_t T, ThreadPool& pool) { return linearOp(T, DType::bf16, pool); }},
      {"linear f16", [](std::int64_t T, ThreadPool& pool) { return linearOp(T, DType::f16, pool); }},
      {"blockLinear", blockLinearOp},
      {"rmsNorm", rmsNormOp},
      {"conv1d", conv1dOp},
      {"rgLru", rgLruOp},
      {"attention", attentionOp},
      {"rope", ropeOp},
      {"gatedActivation", gatedOp},
      {"embed", embedOp},
      {"logits", logitsOp},
  };
  return kOps;
}

void forEachOp() {
  QTest::addColumn<QString>("op");
  for (const auto& [name, op] : ops()) QTest::newRow(name.c_str()) << QString::fromStdString(name);
}

bool sameBits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

class DeterminismTest : public QObject {
  Q_OBJECT

 private slots:
  void sameThreadsGiveTheSameBits_data() { forEachOp(); }
  void sameThreadsGiveTheSameBits();
  void singleStepsGiveTheSameBitsOnAnyThreads_data() { forEachOp(); }
  void singleStepsGiveTheSameBitsOnAnyThreads();
  void theWorkIsReallyShared();
};

void DeterminismTest::sameThreadsGiveTheSameBits() {
  QFETCH(QString, op);
  const Op& run = ops().at(op.toStdString());
  for (const int threads : {1, 2, 3}) {
    for (const std::int64_t T : {1, 5, 40}) {
      ThreadPool first(threads);
      const Values expected = run(T, first);
      for (int again = 0; again < 3; ++again) {
        ThreadPool pool(threads);
        QVERIFY2(sameBits(run(T, pool), expected),
                 qPrintable(QString("%1 threads, T %2").arg(threads).arg(T)));
        QVERIFY2(sameBits(run(T, first), expected),
                 qPrintable(QString("%1 threads again, T %2").arg(threads).arg(T)));
      }
    }
  }
}

void DeterminismTest::singleStepsGiveTheSameBitsOnAnyThreads() {
  QFETCH(QString, op);
  const Op& run = ops().at(op.toStdString());
  for (const std::string& set : cpu::instructionSets()) {
    cpu::useInstructionSet(set);
    ThreadPool one(1);
    const Values expected = run(1, one);
    for (const int threads : {2, 3, 4, 7}) {
      ThreadPool pool(threads);
      QVERIFY2(sameBits(run(1, pool), expected),
               qPrintable(QString("%1, %2 threads").arg(QString::fromStdString(set)).arg(threads)));
    }
  }
  cpu::useInstructionSet({});
}

// A product over 3001 rows of 517 is more than one part: what the test above shows is not that nothing was
// split.
void DeterminismTest::theWorkIsReallyShared() {
  ThreadPool pool(3);
  int parts = 0;
  pool.parallelFor(3001, 64,
                   [&](std::int64_t, std::int64_t, int part) { parts = std::max(parts, part + 1); });
  QCOMPARE(parts, pool.maxParts());
}

QTEST_APPLESS_MAIN(DeterminismTest)
#include "determinism_test.moc"
