#include <bit>

#include "tests/kernels/cuda/attended.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

float roundedTo16(float value) {
  return bf16ToFloat(floatToBf16(value));
}

// What the op multiplies, so that the reference can be given the same.
Sequence rounded(Sequence s) {
  for (std::vector<float>* values : {&s.q, &s.k, &s.v})
    for (float& value : *values) value = roundedTo16(value);
  return s;
}

void onTensorCores(const AttentionArgs& args) {
  const std::int64_t positions = std::min(args.older, args.firstPosition) + args.T;
  std::vector<float> statistics(asSize(2 * args.T * args.H), NAN);
  // Exactly sized, and full of NaN: what pads the tiles must be zeros of the op's own.
  std::vector<uint4> workspace(asSize(cuda::tensorAttentionWorkspace(positions, args.kvHeads, args.Dh) / 16),
                               uint4{0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU});
  std::vector<std::uint16_t> operand(asSize(args.T * args.H * args.Dh));
  cuda::tensorAttention({args, operand.data(), statistics.data(), workspace.data()}, nullptr);
  for (std::size_t i = 0; i < operand.size(); ++i)
    QCOMPARE(bf16ToFloat(operand[i]), roundedTo16(args.out[i]));
}

double bound() {
  return toleranceFor("tensorAttention", 256);
}

}  // namespace

class CudaTensorAttentionTest : public QObject {
  Q_OBJECT

 private slots:
  void chunksMatchReference();
  void roundingEverythingStaysWithinTheTolerance();
  void trap23RingWrapMatchesReference();
  void trap22OldestVisibleKeyIsExactlyTheWindowAway();
  void trap25UnwrittenRingSlotsAreNeverRead();
  void weightsAddUpToOneExactly();
  void farAndNearScoresDoNotOverflow();
  void operandAloneWillDo();
  void toleranceRejectsBrokenVariants();
};

void CudaTensorAttentionTest::chunksMatchReference() {
  forEachOrder(86, [](const std::string& order) {
    for (const std::int64_t Dh : {1, 64, 72, 130}) {
      // Less than a tile of queries, and more; windows that begin within tiles of keys.
      const std::int64_t T = Dh == 72 ? 70 : 17;
      const Sequence s = rounded(Sequence(71 + T, 2, Dh == 1 ? 2 : 1, Dh));
      const Result expected = attended(s, 71, T, 45, 45, 40, plainly);
      const Result actual = attended(s, 71, T, 45, 45, 40, onTensorCores);
      const std::string name = order + ", Dh " + std::to_string(Dh) + ", T " + std::to_string(T);
      EYRIE_VERIFY_CLOSE(actual.out, expected.out, bound(), name);
      EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, bound(), name + " weights");
    }
  });
}

void CudaTensorAttentionTest::roundingEverythingStaysWithinTheTolerance() {
  const Sequence s(200, 2, 1, 256);
  const Result expected = attended(s, 100, 100, 64, 64, 0, plainly);
  EYRIE_VERIFY_CLOSE(attended(s, 100, 100, 64, 64, 0, onTensorCores).out, expected.out, 2 * bound(),
                     "inputs of 24 bits");
}

void CudaTensorAttentionTest::trap23RingWrapMatchesReference() {
  for (const std::int64_t first : {0, 1, 31, 33, 95}) {
    for (const std::int64_t T : {1, 40}) {
      const Sequence s = rounded(Sequence(first + T, 2, 1, 24));
      for (const std::int64_t older : {7, 32, 1 << 30}) {
        const std::int64_t capacity = older > 32 ? first : older;
        const Result expected = attended(s, first, T, older, capacity, 5, plainly);
        const Result actual = attended(s, first, T, older, capacity, 5, onTensorCores);
        EYRIE_VERIFY_CLOSE(actual.out, expected.out, bound(), std::to_string(first));
        EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, bound(), "weights");
        EYRIE_VERIFY_CLOSE(attended(s, first, T, older, capacity, 0, onTensorCores).out, expected.out,
                           bound(), "without weights");
      }
    }
  }
}

void CudaTensorAttentionTest::trap22OldestVisibleKeyIsExactlyTheWindowAway() {
  const std::int64_t W = 40;
  const auto seen = [&](std::int64_t position) {
    Sequence s(position + 1, 2, 1, 16);
    std::fill(s.v.begin(), s.v.end(), 0.0F);
    std::fill_n(s.v.begin() + 10 * 16, 16, 1000.0F);
    return attended(s, position, 1, W, W, 0, onTensorCores).out[0] > 0.0F;
  };
  QVERIFY(seen(10 + W));
  QVERIFY(!seen(10 + W + 1));
}

void CudaTensorAttentionTest::trap25UnwrittenRingSlotsAreNeverRead() {
  const Sequence s = rounded(Sequence(20, 1, 1, 16));
  const Result expected = attended(s, 12, 8, 64, 64, 0, plainly);  // 52 slots of the ring hold NaN
  EYRIE_VERIFY_CLOSE(attended(s, 12, 8, 64, 64, 0, onTensorCores).out, expected.out, bound(), "NaN");
}

void CudaTensorAttentionTest::weightsAddUpToOneExactly() {
  Sequence s(130, 2, 1, 64);
  std::fill(s.v.begin(), s.v.end(), 1.0F);
  for (const float value : attended(s, 30, 100, 50, 50, 0, onTensorCores).out)
    QVERIFY2(std::abs(value - 1.0F) < 1e-6F, qPrintable(QString::number(value)));
}

void CudaTensorAttentionTest::farAndNearScoresDoNotOverflow() {
  Sequence s(100, 1, 1, 8);
  for (float& value : s.q) value *= 100.0F;  // scores of some hundreds: exp() overflows without the largest
  s = rounded(s);
  const Result expected = attended(s, 40, 60, 70, 70, 0, plainly);
  EYRIE_VERIFY_CLOSE(attended(s, 40, 60, 70, 70, 0, onTensorCores).out, expected.out, bound(), "chunk");
}

void CudaTensorAttentionTest::operandAloneWillDo() {
  const Sequence s = rounded(Sequence(20, 2, 1, 16));
  std::vector<float> out;
  std::vector<std::uint16_t> operand(asSize(20 * 2 * 16));
  attended(s, 0, 20, 8, 8, 0, [&](AttentionArgs args) {
    std::vector<uint4> workspace(asSize(cuda::tensorAttentionWorkspace(20, 1, 16) / 16));
    args.out = nullptr;
    cuda::tensorAttention({args, operand.data(), nullptr, workspace.data()}, nullptr);
  });
  for (const std::uint16_t bits : operand) out.push_back(bf16ToFloat(bits));
  EYRIE_VERIFY_CLOSE(out, attended(s, 0, 20, 8, 8, 0, plainly).out, 2 * bound(), "operand");
}

void CudaTensorAttentionTest::toleranceRejectsBrokenVariants() {
  const Sequence s = rounded(Sequence(140, 4, 2, 16));
  const Result expected = attended(s, 60, 80, 32, 33, 0, plainly);
  const auto computed = [&](const Sequence& of, std::int64_t older) {
    return attended(of, 60, 80, older, 33, 0, onTensorCores).out;
  };
  EYRIE_VERIFY_CLOSE(computed(s, 32), expected.out, bound(), "as it should be");
  EYRIE_VERIFY_REJECTS(computed(s, 31), expected.out, bound(), "W - 1");
  EYRIE_VERIFY_REJECTS(computed(s, 33), expected.out, bound(), "W + 1");
  Sequence scaled = s;
  for (float& value : scaled.q) value *= 4.0F;
  EYRIE_VERIFY_REJECTS(computed(scaled, 32), expected.out, bound(), "no scale (trap 26)");
  Sequence coarse = s;
  for (float& value : coarse.k) value = std::bit_cast<float>(std::bit_cast<unsigned>(value) & 0xfff80000U);
  EYRIE_VERIFY_REJECTS(computed(coarse, 32), expected.out, bound(), "keys of four bits");
}

QTEST_APPLESS_MAIN(CudaTensorAttentionTest)
#include "tensor_attention_test.moc"
