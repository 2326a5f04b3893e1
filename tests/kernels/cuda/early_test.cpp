// Ops that are launched early wait for the kernel before: they read nothing of what it makes, and write
// nothing that it reads. The same calls on a card whose kernels do not overlap say what comes out.
#include <deque>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/packed_matrix.h"
#include "tests/cuda_emulator/card.h"
#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie;
using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Copied {
  const float* from;
  float* to;
  std::int64_t n;
};

__global__ void before_kernel(const Copied* all, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    for (std::int64_t at = threadIdx.x; at < all[i].n; at += blockDim.x) all[i].to[at] = all[i].from[at];
}

// Memory of an op, and the kernel before it.
class Before {
 public:
  // NaN until the kernel has run.
  float* makes(std::int64_t n, std::uint32_t seed) {
    const std::vector<float>& values = keep(randomVector(n, seed));
    float* const array = room(n);
    copies_.push_back({values.data(), array, n});
    return array;
  }
  // Looked at by the kernel, and then the op's to write.
  float* reads(std::int64_t n) {
    float* const array = room(n);
    std::copy_n(keep(randomVector(n, 99)).data(), n, array);
    copies_.push_back({array, room(n), n});
    results_.push_back({array, n});
    return array;
  }
  // `array`, made by the kernel, is the op's to write.
  float* changes(float* array, std::int64_t n) {
    results_.push_back({array, n});
    return array;
  }
  // Written by nobody while kernels run.
  template <class T>
  const T* holds(std::vector<T> values) {
    auto held = std::make_shared<std::vector<T>>(std::move(values));
    others_.push_back(held);
    return held->data();
  }

  // The op's results, and what the kernel saw.
  template <class Op>
  std::vector<float> resultsOf(Op op) {
    const cuda::OwnedStream stream;
    cuda::launch(before_kernel, {{1}, {cuda::kWarp}}, stream, copies_.data(), std::ssize(copies_));
    op(stream);
    stream.wait();
    std::vector<float> results;
    for (const auto& [array, n] : results_) results.insert(results.end(), array, array + n);
    for (const Copied& copy : copies_) results.insert(results.end(), copy.to, copy.to + copy.n);
    return results;
  }

 private:
  float* room(std::int64_t n) {
    return rooms_.emplace_back(asSize(n), std::numeric_limits<float>::quiet_NaN()).data();
  }
  const std::vector<float>& keep(std::vector<float> values) { return rooms_.emplace_back(std::move(values)); }

  std::deque<std::vector<float>> rooms_;
  std::vector<std::shared_ptr<void>> others_;
  std::vector<Copied> copies_;
  std::vector<std::pair<float*, std::int64_t>> results_;
};

using Case = std::function<std::vector<float>()>;

constexpr std::int64_t kRows = 70;

MatrixView matrix(Before& before, std::int64_t rows, std::int64_t cols, DType dtype, std::uint32_t seed) {
  return {before.holds(randomMatrix(rows, cols, dtype, seed).bytes), dtype, rows, cols};
}

// Results of products; to be added to, where `accumulate`.
float* sums(Before& before, std::int64_t T, bool accumulate) {
  return accumulate ? before.changes(before.makes(T * kRows, 3), T * kRows) : before.reads(T * kRows);
}

std::vector<float> projected(DType dtype, std::int64_t cols, std::int64_t T, bool accumulate) {
  Before before;
  cuda::ProjectionArgs args;
  args.x = before.makes(T * cols, 1);
  args.normWeight = before.holds(randomVector(cols, 2));
  args.T = T;
  args.accumulate = accumulate;
  for (std::size_t m = 0; m < (accumulate ? 1 : 3); ++m) {
    float* const out = sums(before, T, accumulate);
    args.outputs[m] = {matrix(before, kRows, cols, dtype, 4), before.holds(randomVector(kRows, 5)), out};
  }
  return before.resultsOf([&](cuda::Stream stream) { cuda::projections(args, stream); });
}

std::vector<float> gated(DType dtype, std::int64_t T) {
  constexpr std::int64_t kCols = 64;
  Before before;
  cuda::GatedProjectionArgs args;
  args.x = before.makes(T * kCols, 1);
  args.T = T;
  args.gate = matrix(before, kRows, kCols, dtype, 2);
  args.up = matrix(before, kRows, kCols, dtype, 3);
  args.out = before.reads(T * kRows);
  return before.resultsOf([&](cuda::Stream stream) { cuda::gatedProjection(args, stream); });
}

cuda::PackedRows packedMatrix(Before& before, std::int64_t cols, DType dtype, std::uint32_t seed) {
  std::vector<std::byte> packed(asSize(packedBytes(dtype, kRows, cols)));
  reference::pack(randomMatrix(kRows, cols, DType::f32, seed).view, dtype, packed.data());
  std::vector<uint4> codes(asSize(kRows * cuda::packedRowBytes(dtype, cols) / 16));
  std::vector<std::uint16_t> scales(asSize(kRows * cuda::packedRowGroups(dtype, cols)));
  ThreadPool pool(1);
  cuda::toRows({packed.data(), dtype, kRows, cols}, reinterpret_cast<std::byte*>(codes.data()), scales.data(),
               pool);
  return {before.holds(std::move(codes)), before.holds(std::move(scales)), dtype, kRows, cols};
}

std::vector<float> packedProjected(DType dtype, std::int64_t T, bool accumulate) {
  constexpr std::int64_t kCols = 96;
  Before before;
  cuda::PackedProjectionArgs args;
  args.x = before.makes(T * kCols, 1);
  args.normWeight = before.holds(randomVector(kCols, 2));
  args.T = T;
  args.accumulate = accumulate;
  float* const out = sums(before, T, accumulate);
  args.outputs[0] = {packedMatrix(before, kCols, dtype, 4), nullptr, out};
  return before.resultsOf([&](cuda::Stream stream) { cuda::packedProjections(args, stream); });
}

std::vector<float> packedGated(DType dtype, std::int64_t T) {
  constexpr std::int64_t kCols = 96;
  Before before;
  cuda::PackedGatedProjectionArgs args;
  args.x = before.makes(T * kCols, 1);
  args.T = T;
  args.gate = packedMatrix(before, kCols, dtype, 2);
  args.up = packedMatrix(before, kCols, dtype, 3);
  args.out = before.reads(T * kRows);
  return before.resultsOf([&](cuda::Stream stream) { cuda::packedGatedProjection(args, stream); });
}

// Rings and states are what the step before left.
cuda::RecurrentStepArgs stepArgs(Before& before, DType dtype, std::int64_t gateColumns) {
  cuda::RecurrentStepArgs args;
  args.N = 2;
  args.R = 128;
  args.G = 2;
  args.K = 4;
  args.x = before.makes(args.N * args.R, 1);
  args.y = before.makes(args.N * args.R, 2);
  args.convWeight = before.holds(randomVector(args.K * args.R, 3));
  args.convBias = before.holds(randomVector(args.R, 4));
  args.inputGate = matrix(before, args.R, gateColumns / args.G, dtype, 5);
  args.recurrenceGate = matrix(before, args.R, gateColumns / args.G, dtype, 6);
  args.inputGateBias = before.holds(randomVector(gateColumns, 7));
  args.recurrenceGateBias = before.holds(randomVector(gateColumns, 8));
  args.decayRate = before.holds(std::vector<float>(asSize(gateColumns), decayRateOf(-1.0F)));
  std::vector<float*> rings, states;
  for (std::int64_t n = 0; n < args.N; ++n) {
    rings.push_back(before.changes(before.makes(args.K * args.R, 9), args.K * args.R));
    states.push_back(before.changes(before.makes(args.R, 10), args.R));
  }
  args.convRings = before.holds(rings);
  args.states = before.holds(states);
  args.positions = before.holds(std::vector<std::int64_t>{5, 9});
  args.out = before.reads(args.N * args.R);
  return args;
}

std::vector<float> stepped(DType dtype) {
  Before before;
  const cuda::RecurrentStepArgs args = stepArgs(before, dtype, 128);
  return before.resultsOf([&](cuda::Stream stream) { cuda::recurrentStep(args, stream); });
}

std::vector<float> complexStepped(DType dtype) {
  Before before;
  cuda::ComplexRecurrentStepArgs args;
  args.block = stepArgs(before, dtype, 64);
  args.angleRate = before.holds(randomVector(64, 11));
  return before.resultsOf([&](cuda::Stream stream) { cuda::complexRecurrentStep(args, stream); });
}

constexpr std::int64_t kHeads = 4;
constexpr std::int64_t kKvHeads = 2;
constexpr std::int64_t kHead = 32;
constexpr std::int64_t kCapacity = 16;
constexpr std::int64_t kRing = kCapacity * kKvHeads * kHead;

std::vector<float> appended() {
  Before before;
  cuda::RopeAppendArgs args;
  args.N = 2;
  args.H = kHeads;
  args.kvHeads = kKvHeads;
  args.Dh = kHead;
  args.rotary = 16;
  args.q = before.changes(before.makes(args.N * kHeads * kHead, 1), args.N * kHeads * kHead);
  args.k = before.makes(args.N * kKvHeads * kHead, 2);
  args.v = before.makes(args.N * kKvHeads * kHead, 3);
  args.table = before.makes(args.N * args.rotary, 4);
  args.rings = {before.holds(std::vector<float*>{before.reads(kRing), before.reads(kRing)}),
                before.holds(std::vector<float*>{before.reads(kRing), before.reads(kRing)}), kCapacity,
                before.holds(std::vector<std::int64_t>{3, 40})};
  return before.resultsOf([&](cuda::Stream stream) { cuda::ropeAppend(args, stream); });
}

std::vector<float> decoded() {
  Before before;
  cuda::DecodeAttentionArgs args;
  args.N = 2;
  args.H = kHeads;
  args.kvHeads = kKvHeads;
  args.Dh = kHead;
  args.older = 12;
  args.splits = 3;
  args.span = 13;
  args.q = before.makes(args.N * kHeads * kHead, 1);
  args.rings = {before.holds(std::vector<float*>{before.makes(kRing, 2), before.makes(kRing, 3)}),
                before.holds(std::vector<float*>{before.makes(kRing, 4), before.makes(kRing, 5)}), kCapacity,
                before.holds(std::vector<std::int64_t>{3, 40})};
  args.workspace = before.reads(cuda::decodeAttentionWorkspace(args.N, kHeads, kHead, args.splits));
  args.out = before.reads(args.N * kHeads * kHead);
  args.weights = before.reads(args.N * kHeads * args.span);
  args.summary = before.reads(args.N * kHeads * 2);
  return before.resultsOf([&](cuda::Stream stream) { cuda::decodeAttention(args, stream); });
}

std::vector<float> capped() {
  constexpr std::int64_t kLogits = 300;
  Before before;
  float* const logits = before.changes(before.makes(kLogits, 1), kLogits);
  return before.resultsOf([&](cuda::Stream stream) { cuda::softCap({logits, kLogits, 2.0F}, stream); });
}

// Of two rows in two parts each.
std::vector<float> summedUp() {
  constexpr std::int64_t kFloats = sizeof(LogitStats) / sizeof(float);
  Before before;
  cuda::LogitStatsArgs args;
  args.rows = 2;
  args.V = 5000;
  args.logits = before.makes(args.rows * args.V, 1);
  args.scale = before.makes(args.rows, 2);
  args.out = reinterpret_cast<LogitStats*>(before.reads(args.rows * kFloats));
  args.scaled = reinterpret_cast<LogitStats*>(before.reads(args.rows * kFloats));
  args.workspace = before.reads(args.rows * cuda::logitStatsWorkspace(args.V));
  return before.resultsOf([&](cuda::Stream stream) { cuda::logitStats(args, stream); });
}

// Two rounds and the last, each of what the one before kept.
std::vector<float> ranked() {
  constexpr std::int64_t kV = 4500;
  constexpr std::int64_t kBest = 700;
  Before before;
  const float* const logits = before.makes(kV, 1);
  auto* const indices = reinterpret_cast<std::int32_t*>(before.reads(kBest));
  float* const values = before.reads(kBest);
  auto* const kept = reinterpret_cast<std::uint64_t*>(before.reads(2 * cuda::topKWorkspace(kV, kBest)));
  return before.resultsOf([&](cuda::Stream stream) {
    cuda::topK({logits, kV, kBest, indices, values}, kept, stream);
  });
}

// Logits and statistics from the kernel before; of the first two of five tokens, whatever they are.
std::vector<float> drawn() {
  constexpr std::int64_t kKnown = 5;
  constexpr std::int64_t kFloats = sizeof(LogitStats) / sizeof(float);
  Before before;
  DrawArgs args;
  args.rows = 2;
  args.known = args.V = kKnown;
  args.logits = before.makes(args.rows * kKnown, 1);
  args.tokens = reinterpret_cast<const std::int32_t*>(before.makes(args.rows * kKnown, 2));
  args.stats = reinterpret_cast<const LogitStats*>(before.makes(args.rows * kFloats, 3));
  args.scaled = args.stats;
  args.rules = before.holds(std::vector<DrawRule>{{1.0F, 2, 1.0F, 0.0F, 0.3}, {1.0F, 2, 1.0F, 0.0F, 0.9}});
  args.drawn = reinterpret_cast<Drawn*>(before.reads(args.rows * sizeof(Drawn) / sizeof(float)));
  return before.resultsOf([&](cuda::Stream stream) { cuda::draw(args, stream); });
}

}  // namespace

class CudaEarlyTest : public QObject {
  Q_OBJECT

 private slots:
  void cleanup() { emulator::useCapability(90); }
  void opsWaitForTheKernelBefore_data();
  void opsWaitForTheKernelBefore();
};

void CudaEarlyTest::opsWaitForTheKernelBefore_data() {
  QTest::addColumn<Case>("results");
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const auto row = [&](const char* name) -> QTestData& {
      return QTest::addRow("%s %s", name, dtypeName(dtype));
    };
    row("projections") << Case([=] { return projected(dtype, 200, 1, false); });
    row("projections of 3 rows") << Case([=] { return projected(dtype, 64, 3, false); });
    row("projections of odd columns") << Case([=] { return projected(dtype, 33, 1, false); });
    row("residual") << Case([=] { return projected(dtype, 64, 1, true); });
    row("gated projection") << Case([=] { return gated(dtype, 2); });
    row("recurrent step") << Case([=] { return stepped(dtype); });
    row("complex recurrent step") << Case([=] { return complexStepped(dtype); });
  }
  for (const DType dtype : {DType::int8, DType::int4}) {
    const auto row = [&](const char* name) -> QTestData& {
      return QTest::addRow("%s %s", name, dtypeName(dtype));
    };
    row("projections") << Case([=] { return packedProjected(dtype, 1, false); });
    row("residual") << Case([=] { return packedProjected(dtype, 3, true); });
    row("gated projection") << Case([=] { return packedGated(dtype, 2); });
  }
  QTest::newRow("rope and ring append") << Case(appended);
  QTest::newRow("decode attention") << Case(decoded);
  QTest::newRow("soft cap") << Case(capped);
  QTest::newRow("statistics of logits") << Case(summedUp);
  QTest::newRow("largest logits") << Case(ranked);
  QTest::newRow("draw") << Case(drawn);
}

void CudaEarlyTest::opsWaitForTheKernelBefore() {
  QFETCH(Case, results);
  emulator::useCapability(89);
  const std::vector<float> expected = results();
  emulator::useCapability(90);
  forEachOrder([&](const std::string& order) {
    const std::vector<float> actual = results();
    QCOMPARE(actual.size(), expected.size());
    const bool same = std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)) == 0;
    QVERIFY2(same, order.c_str());
  });
}

QTEST_APPLESS_MAIN(CudaEarlyTest)
#include "early_test.moc"
