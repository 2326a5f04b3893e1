#include "kernels/logits.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

std::vector<double> capped(const std::vector<float>& x, double cap) {
  std::vector<double> out(x.begin(), x.end());
  for (double& value : out) value = cap * std::tanh(value / cap);
  return out;
}

std::vector<double> exactStats(const std::vector<float>& logits) {
  double largest = -INFINITY;
  for (const float value : logits) largest = std::max(largest, double{value});
  double sum = 0;
  double weighted = 0;
  for (const float value : logits) {
    const double e = std::exp(value - largest);
    sum += e;
    if (e > 0) weighted += e * (value - largest);
  }
  return {largest, largest + std::log(sum), std::log(sum) - weighted / sum};
}

std::vector<double> asVector(const LogitStats& stats) {
  return {stats.max, stats.logSumExp, stats.entropy};
}

}  // namespace

class LogitsTest : public QObject {
  Q_OBJECT

 private slots:
  void trap27SoftCapMatchesDoubleAtEveryTail();
  void softCapKeepsNaN();
  void trap28NoCapLeavesLogitsAlone();
  void statsMatchDouble();
  void statsOfMaskedLogits();
};

void LogitsTest::trap27SoftCapMatchesDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    std::vector<std::int64_t> lengths = tailLengths();
    lengths.push_back(60001);
    for (const std::int64_t n : lengths) {
      std::vector<float> x = randomVector(n, 101, 40.0F);
      if (n > 4) x[4] = 1e9F;
      OffsetArray fast(x, 1), plain(x, 1);
      cpu::softCap({fast.data(), n, 30.0F}, pool);
      EYRIE_VERIFY_CLOSE(fast.values(), capped(x, 30.0), toleranceFor("softCap", 1), setup);
      reference::softCap({plain.data(), n, 30.0F});
      EYRIE_VERIFY_CLOSE(plain.values(), capped(x, 30.0), toleranceFor("softCap", 1), "reference");
      for (const float value : fast.values()) QVERIFY(std::abs(value) <= 30.0F);
      if (n > 0) EYRIE_VERIFY_REJECTS(x, capped(x, 30.0), toleranceFor("softCap", 1), "no cap");
    }
  });
}

// A damaged model must show: the sampler refuses NaN, and would draw from a row of caps.
void LogitsTest::softCapKeepsNaN() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    std::vector<float> x = randomVector(45, 101, 40.0F);
    x[3] = x[44] = NAN;
    cpu::softCap({x.data(), 45, 30.0F}, pool);
    for (std::size_t i = 0; i < x.size(); ++i)
      QVERIFY2(std::isnan(x[i]) == (i == 3 || i == 44), setup.c_str());
  });
}

void LogitsTest::trap28NoCapLeavesLogitsAlone() {
  const std::vector<float> x{-1e6F, 100.0F, 3.0F};
  ThreadPool pool(1);
  std::vector<float> out = x;
  cpu::softCap({out.data(), 3, 0.0F}, pool);
  QCOMPARE(out, x);
  reference::softCap({out.data(), 3, 0.0F});
  QCOMPARE(out, x);
}

void LogitsTest::statsMatchDouble() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    std::vector<std::int64_t> lengths = tailLengths();
    lengths.front() = 256000;  // an empty vocabulary is no vocabulary
    for (const std::int64_t V : lengths) {
      for (const float scale : {0.5F, 8.0F}) {
        const std::vector<float> x = randomVector(V, 102, scale);
        OffsetArray logits(x, 1);
        const std::string name = setup + ", V " + std::to_string(V);
        const std::vector<double> fast = asVector(cpu::logitStats(logits.data(), V, pool));
        EYRIE_VERIFY_CLOSE(fast, exactStats(x), toleranceFor("logitStats", V), name);
        if (V < 1000) {
          const std::vector<double> plain = asVector(reference::logitStats(logits.data(), V));
          EYRIE_VERIFY_CLOSE(plain, exactStats(x), toleranceFor("logitStats", V), "reference " + name);
        }
      }
    }
  });
  const std::vector<float> x = randomVector(100, 103, 30.0F);
  std::vector<float> cappedX;
  for (const double value : capped(x, 30.0)) cappedX.push_back(static_cast<float>(value));
  EYRIE_VERIFY_REJECTS(exactStats(x), exactStats(cappedX), toleranceFor("logitStats", 100), "no cap");
}

void LogitsTest::statsOfMaskedLogits() {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> one{-infinity, 2.0F, -infinity};
  const std::vector<float> none(5, -infinity);
  ThreadPool pool(1);
  for (const LogitStats& stats :
       {cpu::logitStats(one.data(), 3, pool), reference::logitStats(one.data(), 3)}) {
    QCOMPARE(stats.max, 2.0F);
    QCOMPARE(stats.logSumExp, 2.0F);
    QCOMPARE(stats.entropy, 0.0F);
  }
  for (const LogitStats& stats :
       {cpu::logitStats(none.data(), 5, pool), reference::logitStats(none.data(), 5)}) {
    QCOMPARE(stats.logSumExp, -infinity);
    QCOMPARE(stats.entropy, 0.0F);
  }
}

QTEST_APPLESS_MAIN(LogitsTest)
#include "logits_test.moc"
