#include "tests/kernels/cuda/attended.h"

using namespace eyrie;
using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

void onTheCard(const AttentionArgs& args) {
  std::vector<float> statistics(asSize(2 * args.T * args.H), NAN);
  cuda::attention(args, args.weights == nullptr ? nullptr : statistics.data(), nullptr);
}

// The last token of each sequence, each at its own position.
Result decoded(const std::vector<Sequence>& sequences, std::int64_t older, std::int64_t capacity,
               std::int64_t splits, std::int64_t span) {
  const Sequence& shape = sequences[0];
  const auto N = static_cast<std::int64_t>(sequences.size());
  std::vector<std::vector<float>> keys(sequences.size(),
                                       std::vector<float>(asSize(capacity * shape.kvHeads * shape.Dh), NAN));
  std::vector<std::vector<float>> values = keys;
  std::vector<float*> keyRings, valueRings;
  std::vector<std::int64_t> positions;
  std::vector<float> q;
  for (std::size_t n = 0; n < sequences.size(); ++n) {
    const Sequence& s = sequences[n];
    ringAppend(
        {s.k.data(), s.v.data(), {keys[n].data(), values[n].data(), capacity}, 0, s.total, s.kvHeads, s.Dh});
    keyRings.push_back(keys[n].data());
    valueRings.push_back(values[n].data());
    positions.push_back(s.total - 1);
    q.insert(q.end(), s.q.end() - s.H * s.Dh, s.q.end());
  }
  Result result{std::vector<float>(asSize(N * shape.H * shape.Dh), NAN),
                std::vector<float>(asSize(N * shape.H * span), NAN)};
  std::vector<float> workspace(asSize(cuda::decodeAttentionWorkspace(N, shape.H, shape.Dh, splits)), NAN);
  cuda::DecodeAttentionArgs args;
  args.q = q.data();
  args.rings = {keyRings.data(), valueRings.data(), capacity, positions.data()};
  args.older = older;
  args.N = N;
  args.H = shape.H;
  args.kvHeads = shape.kvHeads;
  args.Dh = shape.Dh;
  args.splits = splits;
  args.workspace = workspace.data();
  args.out = result.out.data();
  args.weights = span > 0 ? result.weights.data() : nullptr;
  args.span = span;
  cuda::decodeAttention(args, nullptr);
  return result;
}

}  // namespace

class CudaAttentionTest : public QObject {
  Q_OBJECT

 private slots:
  void chunksMatchReference();
  void theLargestHeadFitsTheSmallestCard();
  void trap23RingWrapMatchesReference();
  void decodeMatchesReferenceForAnySplit();
  void decodeTakesSeveralTurnsThroughALongWindow();
  void trap22OldestVisibleKeyIsExactlyTheWindowAway();
  void farAndNearScoresDoNotOverflow();
  void toleranceRejectsBrokenVariants();
};

void CudaAttentionTest::chunksMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t Dh : {1, 16, 35, 72}) {
      const Sequence s(50, 6, Dh % 3 == 0 ? 3 : Dh % 3 == 1 ? 1 : 2, Dh);
      for (const std::int64_t T : {1, 17, 33}) {
        const Result expected = attended(s, 11, T, 20, 20, 21, plainly);
        const Result actual = attended(s, 11, T, 20, 20, 21, onTheCard);
        const std::string name = order + ", Dh " + std::to_string(Dh) + ", T " + std::to_string(T);
        EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", 256), name);
        EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", 256),
                           name + " weights");
      }
    }
  });
}

void CudaAttentionTest::theLargestHeadFitsTheSmallestCard() {
  emulator::useCapability(75);
  const Sequence s(20, 1, 1, cuda::kMaxHeadSize);
  const Result expected = attended(s, 3, 17, 20, 20, 0, plainly);
  EYRIE_VERIFY_CLOSE(attended(s, 3, 17, 20, 20, 0, onTheCard).out, expected.out,
                     toleranceFor("attention", 256), "sm_75");
  emulator::useCapability(90);
}

void CudaAttentionTest::trap23RingWrapMatchesReference() {
  for (const std::int64_t first : {0, 1, 8, 9, 63}) {
    for (const std::int64_t T : {1, 20}) {
      const Sequence s(first + T, 2, 1, 24);
      for (const std::int64_t older : {7, 8, 1 << 30}) {
        const std::int64_t capacity = older > 8 ? first : older;
        const Result expected = attended(s, first, T, older, capacity, 5, plainly);
        const Result actual = attended(s, first, T, older, capacity, 5, onTheCard);
        EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", 256), std::to_string(first));
        EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", 256), "weights");
        EYRIE_VERIFY_CLOSE(attended(s, first, T, older, capacity, 0, onTheCard).out, expected.out,
                           toleranceFor("attention", 256), "without weights");
      }
    }
  }
}

void CudaAttentionTest::decodeMatchesReferenceForAnySplit() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t Dh : {5, 16, 136, 256}) {
      const std::int64_t older = 12;
      const std::int64_t H = Dh == 16 ? 10 : 3;  // more heads than a tile, and fewer
      std::vector<Sequence> sequences;
      for (const std::int64_t length : {1, 13, 30}) {
        sequences.emplace_back(length, H, Dh == 5 ? 3 : 1, Dh, static_cast<std::uint32_t>(100 + length));
      }
      for (const std::int64_t splits : {1, 3, 16}) {
        const Result actual = decoded(sequences, older, older + 1, splits, older + 1);
        const std::string name = order + ", Dh " + std::to_string(Dh) + ", splits " + std::to_string(splits);
        std::vector<float> out, weights;
        for (const Sequence& s : sequences) {
          const Result one = attended(s, s.total - 1, 1, older, older, older + 1, plainly);
          out.insert(out.end(), one.out.begin(), one.out.end());
          weights.insert(weights.end(), one.weights.begin(), one.weights.end());
        }
        EYRIE_VERIFY_CLOSE(actual.out, out, toleranceFor("attention", 256), name);
        EYRIE_VERIFY_CLOSE(actual.weights, weights, toleranceFor("attention", 256), name + " weights");
        EYRIE_VERIFY_CLOSE(decoded(sequences, older, older + 1, splits, 0).out, out,
                           toleranceFor("attention", 256), name + " without weights");
      }
    }
  });
}

void CudaAttentionTest::decodeTakesSeveralTurnsThroughALongWindow() {
  const std::int64_t older = 90;
  for (const std::int64_t length : {60, 91, 150}) {
    const Sequence s(length, 5, 1, 16, static_cast<std::uint32_t>(200 + length));
    const Result expected = attended(s, s.total - 1, 1, older, older, older + 1, plainly);
    for (const std::int64_t splits : {1, 2}) {
      const Result actual = decoded({s}, older, older + 1, splits, older + 1);
      const std::string name = std::to_string(length) + " tokens, splits " + std::to_string(splits);
      EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", 256), name);
      EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", 256), name + " weights");
    }
  }
}

void CudaAttentionTest::trap22OldestVisibleKeyIsExactlyTheWindowAway() {
  const std::int64_t W = 8;
  const auto seen = [&](std::int64_t position) {
    Sequence s(position + 1, 2, 1, 16);
    std::fill(s.v.begin(), s.v.end(), 0.0F);
    std::fill_n(s.v.begin() + 10 * 16, 16, 1000.0F);
    const bool byStep = decoded({s}, W, W + 1, 2, 0).out[0] > 0.0F;
    const bool inChunk = attended(s, position, 1, W, W, 0, onTheCard).out[0] > 0.0F;
    return std::pair{byStep, inChunk};
  };
  QVERIFY(seen(10 + W) == std::pair(true, true));
  QVERIFY(seen(10 + W + 1) == std::pair(false, false));
}

void CudaAttentionTest::farAndNearScoresDoNotOverflow() {
  Sequence s(40, 1, 1, 8);
  for (float& value : s.q) value *= 100.0F;  // scores of some hundreds: exp() overflows without the largest
  const Result expected = attended(s, 20, 20, 30, 30, 0, plainly);
  EYRIE_VERIFY_CLOSE(attended(s, 20, 20, 30, 30, 0, onTheCard).out, expected.out, 1e-4, "chunk");
  const std::vector<float> last(expected.out.end() - 8, expected.out.end());
  EYRIE_VERIFY_CLOSE(decoded({s}, 30, 31, 4, 0).out, last, 1e-4, "step");
}

void CudaAttentionTest::toleranceRejectsBrokenVariants() {
  const Sequence s(40, 4, 2, 16);
  const Result expected = attended(s, 39, 1, 8, 9, 0, plainly);
  const double bound = toleranceFor("attention", 256);
  EYRIE_VERIFY_CLOSE(decoded({s}, 8, 9, 2, 0).out, expected.out, bound, "as it should be");
  EYRIE_VERIFY_REJECTS(decoded({s}, 7, 9, 2, 0).out, expected.out, bound, "W - 1");
  EYRIE_VERIFY_REJECTS(decoded({s}, 9, 10, 2, 0).out, expected.out, bound, "W + 1");
  EYRIE_VERIFY_REJECTS(attended(s, 39, 1, 7, 9, 0, onTheCard).out, expected.out, bound, "W - 1 in a chunk");
  Sequence scaled = s;
  for (float& value : scaled.q) value *= 4.0F;
  EYRIE_VERIFY_REJECTS(decoded({scaled}, 8, 9, 2, 0).out, expected.out, bound, "no scale (trap 26)");
}

QTEST_APPLESS_MAIN(CudaAttentionTest)
#include "attention_test.moc"
