#include "kernels/attention.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

enum class Defect { none, windowShorter, windowLonger, noScale, wrongHead };

// A whole sequence of `total` positions; a chunk of it is attended to through a ring of the earlier ones.
struct Sequence {
  std::int64_t total, H, kvHeads, Dh;
  std::vector<float> q, k, v;

  Sequence(std::int64_t length, std::int64_t heads, std::int64_t kv, std::int64_t width)
      : total(length),
        H(heads),
        kvHeads(kv),
        Dh(width),
        q(randomVector(total * H * Dh, 71)),
        k(randomVector(total * kvHeads * Dh, 72)),
        v(randomVector(total * kvHeads * Dh, 73)) {}
};

struct Exact {
  std::vector<double> out;      // (T, H, Dh)
  std::vector<double> weights;  // (T, H, span)
};

Exact exact(const Sequence& s, std::int64_t first, std::int64_t T, std::int64_t older, std::int64_t span,
            Defect defect = Defect::none) {
  Exact e;
  e.out.assign(asSize(T * s.H * s.Dh), 0.0);
  e.weights.assign(asSize(T * s.H * span), 0.0);
  if (defect == Defect::windowShorter) --older;
  if (defect == Defect::windowLonger) ++older;
  for (std::int64_t row = 0; row < T * s.H; ++row) {
    const std::int64_t position = first + row / s.H;
    const std::int64_t head = row % s.H;
    const std::int64_t kvHead = defect == Defect::wrongHead ? head % s.kvHeads : head / (s.H / s.kvHeads);
    std::vector<double> scores;
    double sum = 0;
    for (std::int64_t p = std::max<std::int64_t>(0, position - older); p <= position; ++p) {
      double dot = 0;
      for (std::int64_t d = 0; d < s.Dh; ++d) {
        dot += double{s.q[asSize((position * s.H + head) * s.Dh + d)]} *
               s.k[asSize((p * s.kvHeads + kvHead) * s.Dh + d)];
      }
      scores.push_back(
          std::exp(dot / (defect == Defect::noScale ? 1.0 : std::sqrt(static_cast<double>(s.Dh)))));
      sum += scores.back();
    }
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const std::int64_t back = static_cast<std::int64_t>(scores.size() - 1 - i);
      const double weight = scores[i] / sum;
      if (back < span) e.weights[asSize(row * span + span - 1 - back)] = weight;
      for (std::int64_t d = 0; d < s.Dh; ++d) {
        e.out[asSize(row * s.Dh + d)] +=
            weight * s.v[asSize(((position - back) * s.kvHeads + kvHead) * s.Dh + d)];
      }
    }
  }
  return e;
}

// Attends to positions [first, first + T) with a ring that was filled with NaN before use (trap 25).
template <class Run>
Exact attendThroughRing(const Sequence& s, std::int64_t first, std::int64_t T, std::int64_t older,
                        std::int64_t capacity, std::int64_t span, Run run) {
  const std::int64_t rowSize = s.kvHeads * s.Dh;
  std::vector<float> ringKeys(asSize(capacity * rowSize), NAN);
  std::vector<float> ringValues = ringKeys;
  const KvRing ring{ringKeys.data(), ringValues.data(), capacity};
  if (capacity > 0) ringAppend({s.k.data(), s.v.data(), ring, 0, first, s.kvHeads, s.Dh});
  const auto chunk = [&](const std::vector<float>& all, std::int64_t size) {
    const auto start = all.begin() + first * size;
    return OffsetArray({start, start + T * size}, 1 + first % 3);
  };
  OffsetArray q = chunk(s.q, s.H * s.Dh);
  OffsetArray k = chunk(s.k, rowSize);
  OffsetArray v = chunk(s.v, rowSize);
  std::vector<float> out(asSize(T * s.H * s.Dh), NAN);
  std::vector<float> weights(asSize(T * s.H * span), NAN);
  run(AttentionArgs{q.data(), k.data(), v.data(), ring, first, older, T, s.H, s.kvHeads, s.Dh, out.data(),
                    span > 0 ? weights.data() : nullptr, span});
  return {{out.begin(), out.end()}, {weights.begin(), weights.end()}};
}

}  // namespace

class AttentionTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAndReferenceMatchDoubleAtEveryHeadSize();
  void trap23RingWrapMatchesTheWholeSequence_data();
  void trap23RingWrapMatchesTheWholeSequence();
  void longGlobalAttentionStreams();
  void weightsDoNotChangeTheOutput();
  void trap22OldestVisibleKeyIsExactlyTheWindowAway();
  void trap25UnwrittenRingSlotsAreNeverRead();
  void trap26ScaleByHand();
  void toleranceRejectsBrokenVariants();
  void ringAppendKeepsTheLastRows();
};

void AttentionTest::cpuAndReferenceMatchDoubleAtEveryHeadSize() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (std::int64_t Dh = 1; Dh <= 35; ++Dh) {
      const Sequence s(19, 6, Dh % 3 == 0 ? 3 : Dh % 3 == 1 ? 1 : 2, Dh);
      const std::int64_t T = 1 + Dh % 8;
      const Exact expected = exact(s, 11, T, 7, 8);
      const auto check = [&](auto run, const std::string& label) {
        const Exact actual = attendThroughRing(s, 11, T, 7, 9, 8, run);
        EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", 35), label);
        EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", 35),
                           label + " weights");
      };
      const std::string name = setup + ", Dh " + std::to_string(Dh);
      check([&](const AttentionArgs& args) { cpu::attention(args, pool); }, name);
      check([](const AttentionArgs& args) { reference::attention(args); }, "reference " + name);
    }
  });
}

void AttentionTest::trap23RingWrapMatchesTheWholeSequence_data() {
  QTest::addColumn<int>("first");
  QTest::addColumn<int>("T");
  for (const int first : {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 200}) {
    for (const int T : {1, 2, 8, 40, 97}) {
      QTest::addRow("trap 23: %d after %d", T, first) << first << T;
    }
  }
}

void AttentionTest::trap23RingWrapMatchesTheWholeSequence() {
  QFETCH(int, first);
  QFETCH(int, T);
  const Sequence s(first + T, 4, 1, 24);
  for (const std::int64_t older : {7, 8, 16}) {
    const Exact expected = exact(s, first, T, older, older + 1);
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      const Exact actual = attendThroughRing(s, first, T, older, older, older + 1,
                                             [&](const AttentionArgs& args) { cpu::attention(args, pool); });
      EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", 24), "out");
      EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", 24), "weights");
    }
  }
}

void AttentionTest::longGlobalAttentionStreams() {
  const std::int64_t total = 700;
  const Sequence s(total, 4, 2, 40);
  const Exact expected = exact(s, 300, 400, 1 << 30, total);
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    const Exact actual = attendThroughRing(s, 300, 400, 1 << 30, 512, total,
                                           [&](const AttentionArgs& args) { cpu::attention(args, pool); });
    EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", total), "out");
    EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", total), "weights");
  }
}

void AttentionTest::weightsDoNotChangeTheOutput() {
  const Sequence s(60, 4, 1, 32);
  ThreadPool pool(2);
  const auto run = [&](const AttentionArgs& args) { cpu::attention(args, pool); };
  for (const std::int64_t T : {1, 30}) {
    QVERIFY(attendThroughRing(s, 30, T, 16, 16, 17, run).out ==
            attendThroughRing(s, 30, T, 16, 16, 0, run).out);
    // A span shorter than the window shows the newest keys of the same softmax.
    const Exact expected = exact(s, 30, T, 16, 5);
    const Exact actual = attendThroughRing(s, 30, T, 16, 16, 5, run);
    EYRIE_VERIFY_CLOSE(actual.weights, expected.weights, toleranceFor("attention", 32), "short span");
  }
}

// The value at the edge of the window is a spike: seen at distance W, gone at W + 1.
void AttentionTest::trap22OldestVisibleKeyIsExactlyTheWindowAway() {
  const std::int64_t W = 8;
  Sequence s(30, 2, 1, 16);
  std::fill(s.v.begin(), s.v.end(), 0.0F);
  const std::int64_t spike = 10;
  std::fill_n(s.v.begin() + spike * 16, 16, 1000.0F);
  ThreadPool pool(1);
  const auto seen = [&](std::int64_t position, auto run) {
    return attendThroughRing(s, position, 1, W, W, 0, run).out[0] > 0.0;
  };
  const auto fast = [&](const AttentionArgs& args) { cpu::attention(args, pool); };
  const auto plain = [](const AttentionArgs& args) { reference::attention(args); };
  QVERIFY(seen(spike + W, fast) && seen(spike + W, plain));
  QVERIFY(!seen(spike + W + 1, fast) && !seen(spike + W + 1, plain));
}

void AttentionTest::trap25UnwrittenRingSlotsAreNeverRead() {
  const Sequence s(12, 4, 1, 16);
  ThreadPool pool(2);
  for (const std::int64_t first : {0, 1, 3}) {
    const Exact expected = exact(s, first, 5, 64, 0);
    const Exact actual = attendThroughRing(s, first, 5, 64, 64, 0,
                                           [&](const AttentionArgs& args) { cpu::attention(args, pool); });
    EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("attention", 64), "NaN-poisoned ring");
    const Exact plain = attendThroughRing(s, first, 5, 64, 64, 0,
                                          [](const AttentionArgs& args) { reference::attention(args); });
    EYRIE_VERIFY_CLOSE(plain.out, expected.out, toleranceFor("attention", 64), "reference");
  }
}

// Two keys, one head: q.k is 16 and 0, head size 4, so the weights are sigmoid(8) and sigmoid(-8).
void AttentionTest::trap26ScaleByHand() {
  const std::vector<float> q{0, 0, 0, 0, 2, 2, 2, 2};
  const std::vector<float> k{2, 2, 2, 2, 0, 0, 0, 0};
  const std::vector<float> v{1, 0, 0, 0, 0, 1, 0, 0};
  std::vector<float> out(8);
  ThreadPool pool(1);
  cpu::attention({q.data(), k.data(), v.data(), {}, 0, 8, 2, 1, 1, 4, out.data(), nullptr, 0}, pool);
  QVERIFY(std::abs(out[4] - 1.0 / (1.0 + std::exp(-8.0))) < 1e-6);
  QVERIFY(std::abs(out[5] - 1.0 / (1.0 + std::exp(8.0))) < 1e-9);
}

void AttentionTest::toleranceRejectsBrokenVariants() {
  const Sequence s(40, 4, 2, 16);
  const std::vector<double> expected = exact(s, 20, 10, 8, 0).out;
  const double bound = toleranceFor("attention", 16);
  EYRIE_VERIFY_REJECTS(exact(s, 20, 10, 8, 0, Defect::windowShorter).out, expected, bound, "W - 1");
  EYRIE_VERIFY_REJECTS(exact(s, 20, 10, 8, 0, Defect::windowLonger).out, expected, bound, "W + 1");
  EYRIE_VERIFY_REJECTS(exact(s, 20, 10, 8, 0, Defect::noScale).out, expected, bound, "no scale");
  EYRIE_VERIFY_REJECTS(exact(s, 20, 10, 8, 0, Defect::wrongHead).out, expected, bound, "KV head by modulo");
}

void AttentionTest::ringAppendKeepsTheLastRows() {
  const std::vector<float> rows{0, 1, 2, 3, 4, 5, 6};
  std::vector<float> keys(3, -1.0F);
  std::vector<float> values(3, -1.0F);
  ringAppend({rows.data(), rows.data(), {keys.data(), values.data(), 3}, 2, 7, 1, 1});
  QCOMPARE(keys, (std::vector<float>{4, 5, 6}));  // positions 6, 7, 8: slots 0, 1, 2
  ringAppend({rows.data(), rows.data(), {keys.data(), values.data(), 3}, 10, 1, 1, 1});
  QCOMPARE(values, (std::vector<float>{4, 0, 6}));  // position 10: slot 1
  ringAppend({rows.data(), rows.data(), {}, 0, 7, 1, 1});
}

QTEST_APPLESS_MAIN(AttentionTest)
#include "attention_test.moc"
