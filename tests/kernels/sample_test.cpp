#include "kernels/sample.h"

#include "kernels/draw.h"
#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Top {
  std::vector<std::int32_t> indices;
  std::vector<float> values;
};

Top fastTop(const std::vector<float>& logits, std::int64_t k, ThreadPool& pool) {
  Top top{std::vector<std::int32_t>(asSize(k)), std::vector<float>(asSize(k))};
  cpu::topK(
      {logits.data(), static_cast<std::int64_t>(logits.size()), k, top.indices.data(), top.values.data()},
      pool);
  return top;
}

Top plainTop(const std::vector<float>& logits, std::int64_t k) {
  Top top{std::vector<std::int32_t>(asSize(k)), std::vector<float>(asSize(k))};
  reference::topK(
      {logits.data(), static_cast<std::int64_t>(logits.size()), k, top.indices.data(), top.values.data()});
  return top;
}

}  // namespace

class SampleTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAgreesWithReferenceForEveryK();
  void tiesComeByRisingIndex();
  void nanCountsAsMinusInfinity();
  void weightsAreExponentials();
  void weightsNeverRiseWhereLogitsFall();
  void everyInstructionSetWeighsAlike();
  void infinitiesAreWeighed();
  void drawsGoToWhatPasses();
};

void SampleTest::cpuAgreesWithReferenceForEveryK() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const std::int64_t V : {1, 2, 7, 8, 9, 33, 300, 20011}) {
      const std::vector<float> logits = randomVector(V, 111);
      for (const std::int64_t k :
           {std::int64_t{1}, std::int64_t{5}, std::int64_t{40}, std::int64_t{256}, std::int64_t{257}, V}) {
        if (k > V || (k == V && V > 1000 && setup.find("1 threads") == std::string::npos)) continue;
        const Top expected = plainTop(logits, k);
        const Top actual = fastTop(logits, k, pool);
        const QByteArray name =
            QByteArray::fromStdString(setup + ", V " + std::to_string(V) + ", k " + std::to_string(k));
        QVERIFY2(actual.indices == expected.indices && actual.values == expected.values, name.constData());
      }
    }
  });
}

void SampleTest::tiesComeByRisingIndex() {
  std::vector<float> logits(5000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7919 % 13);
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    for (const std::int64_t k : {1, 3, 100, 1000}) {
      const Top actual = fastTop(logits, k, pool);
      QVERIFY2(actual.indices == plainTop(logits, k).indices, setup.c_str());
      for (std::size_t i = 1; i < actual.indices.size(); ++i) {
        QVERIFY(actual.values[i - 1] > actual.values[i] || actual.indices[i - 1] < actual.indices[i]);
      }
    }
  });
}

void SampleTest::nanCountsAsMinusInfinity() {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits{NAN, -infinity, 1.0F, NAN, 2.0F, NAN, NAN, NAN, NAN, NAN, NAN};
  ThreadPool pool(2);
  for (const Top& top : {fastTop(logits, 4, pool), plainTop(logits, 4)}) {
    QCOMPARE(top.indices, (std::vector<std::int32_t>{4, 2, 0, 1}));
    QCOMPARE(top.values, (std::vector<float>{2.0F, 1.0F, -infinity, -infinity}));
  }
}

namespace {

constexpr double kUnit = 0x1p-40;

// Of e^x, beside one unit.
double errorOf(std::uint64_t weight, double x) {
  return std::max(0.0, std::abs(static_cast<double>(weight) * kUnit - std::exp(x)) - kUnit) / std::exp(x);
}

}  // namespace

// Over the whole range that weights have, in every power of two.
void SampleTest::weightsAreExponentials() {
  constexpr double kBound = 2e-8;
  constexpr std::uint32_t kStep = 211;
  const auto last = std::bit_cast<std::uint32_t>(28.0F);
  double worst = 0;
  double careless = 0;
  for (std::uint32_t bits = 0; bits <= last; bits += kStep) {
    const float x = std::bit_cast<float>(bits);
    worst = std::max(worst, errorOf(expWeight(-x), -double{x}));
    if (x <= 15.0F) worst = std::max(worst, errorOf(expWeight(x), double{x}));
    const float rounded = std::exp(-x);
    careless = std::max(careless, errorOf(static_cast<std::uint64_t>(double{rounded} / kUnit), -double{x}));
  }
  QVERIFY2(worst < kBound, qPrintable(QString::number(worst)));
  QVERIFY2(careless > kBound, "an f32 exponential passes");
  QCOMPARE(expWeight(0.0F), kLargestWeight);
  for (const float x : {-28.0F, -1e30F, -INFINITY, NAN}) QCOMPARE(expWeight(x), std::uint64_t{0});
}

// All numbers around the places where a power of two ends, and some between.
void SampleTest::weightsNeverRiseWhereLogitsFall() {
  std::uint64_t before = kLargestWeight;
  const auto fallsAt = [&](float x) {
    const std::uint64_t weight = expWeight(-x);
    const bool falls = weight <= before;
    before = weight;
    return falls;
  };
  for (int power = 1; power <= 40; ++power) {
    float x = static_cast<float>(power * M_LN2);
    for (int i = 0; i < 2000; ++i) x = std::nextafter(x, 0.0F);
    for (int i = 0; i < 4000; ++i) {
      QVERIFY2(fallsAt(x), qPrintable(QString::number(double{x}, 'g', 9)));
      x = std::nextafter(x, 100.0F);
    }
  }
}

void SampleTest::everyInstructionSetWeighsAlike() {
  forEachSetup([](ThreadPool&, const std::string& setup) {
    for (const std::int64_t V : {1, 3, 4, 5, 8, 15, 16, 17, 33, 1000}) {
      std::vector<float> logits = randomVector(V, 5, 6.0F);
      if (V > 4) {
        logits[1] = -INFINITY;
        logits[3] = NAN;
        logits[4] = -0.0F;
      }
      float largest = logits[0];
      for (const float logit : logits) largest = logit > largest ? logit : largest;
      for (const float temperature : {1.0F, 0.37F, 1e-30F, 1e6F}) {
        const std::uint64_t expected = reference::weightOfAll(logits.data(), V, largest, temperature);
        QVERIFY(expected >= kLargestWeight);
        QVERIFY2(cpu::weightOfAll(logits.data(), V, largest, temperature) == expected, setup.c_str());
        QVERIFY(V == 1 || cpu::weightOfAll(logits.data(), V - 1, largest, 1e6F) !=
                              cpu::weightOfAll(logits.data(), V, largest, 1e6F));
      }
    }
  });
}

// Those equal to an infinite one share all.
void SampleTest::infinitiesAreWeighed() {
  std::vector<float> logits(100, 1.0F);
  logits[3] = logits[70] = INFINITY;
  forEachSetup([&](ThreadPool&, const std::string& setup) {
    QVERIFY2(cpu::weightOfAll(logits.data(), 100, INFINITY, 0.8F) == 2 * kLargestWeight, setup.c_str());
  });
}

// Weights 8, 4, 2, 1, 1 of 16.
void SampleTest::drawsGoToWhatPasses() {
  std::vector<float> logits;
  for (const double weight : {8, 4, 2, 1, 1}) logits.push_back(static_cast<float>(std::log(weight)));
  const std::vector<std::int32_t> tokens{50, 40, 30, 20, 10};
  const LogitStats stats = reference::logitStats(logits.data(), 5);
  const auto drawn = [&](const DrawRule& rule, std::int64_t V = 5, std::int64_t known = 5) {
    Drawn result;
    reference::draw({logits.data(), tokens.data(), &stats, &stats, &rule, 1, V, known, &result});
    return std::pair(result.token, result.kept);
  };
  using Result = std::pair<std::int32_t, std::int32_t>;
  QCOMPARE(drawn({1.0F, 0, 1.0F, 0.0F, 0.0}), Result(50, 5));
  QCOMPARE(drawn({1.0F, 0, 1.0F, 0.0F, 0.49}), Result(50, 5));
  QCOMPARE(drawn({1.0F, 0, 1.0F, 0.0F, 0.51}), Result(40, 5));
  QCOMPARE(drawn({1.0F, 0, 1.0F, 0.0F, 1 - 0x1p-53}), Result(10, 5));
  QCOMPARE(drawn({0.0F, 0, 1.0F, 0.0F, 0.9}), Result(50, 1));
  QCOMPARE(drawn({1.0F, 2, 1.0F, 0.0F, 0.9}), Result(40, 2));
  QCOMPARE(drawn({1.0F, 0, 0.8F, 0.0F, 0.9}), Result(30, 3));
  QCOMPARE(drawn({1.0F, 0, 1e-30F, 0.0F, 0.9}), Result(50, 1));
  QCOMPARE(drawn({1.0F, 0, 1.0F, 0.2F, 0.9}), Result(30, 3));
  // Of a larger vocabulary.
  QCOMPARE(drawn({1.0F, 0, 0.8F, 0.0F, 0.9}, 900), Result(30, 3));
  QCOMPARE(drawn({1.0F, 0, 0.8F, 0.0F, 0.9}, 900, 2), Result(-1, 0));
  QCOMPARE(drawn({1.0F, 0, 1.0F, 0.0F, 0.9}, 900), Result(-1, 0));
  QCOMPARE(drawn({1.0F, 3, 1.0F, 0.0F, 0.9}, 900, 2), Result(-1, 0));
  QCOMPARE(drawn({1.0F, 5, 1.0F, 0.0F, 0.9}, 900).second, 5);
}

QTEST_APPLESS_MAIN(SampleTest)
#include "sample_test.moc"
