#include "kernels/sample.h"

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

QTEST_APPLESS_MAIN(SampleTest)
#include "sample_test.moc"
