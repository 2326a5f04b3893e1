#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Top {
  std::vector<std::int32_t> indices;
  std::vector<float> values;
};

template <class Run>
Top topOf(const std::vector<float>& logits, std::int64_t k, Run run) {
  Top top{std::vector<std::int32_t>(asSize(k)), std::vector<float>(asSize(k))};
  run(TopKArgs{logits.data(), static_cast<std::int64_t>(logits.size()), k, top.indices.data(),
               top.values.data()});
  return top;
}

void onTheCard(const TopKArgs& args) {
  std::vector<std::uint64_t> workspace(asSize(cuda::topKWorkspace(args.V, args.k)), ~std::uint64_t{0});
  cuda::topK(args, workspace.data(), nullptr);
}

void plainly(const TopKArgs& args) {
  reference::topK(args);
}

}  // namespace

class CudaSampleTest : public QObject {
  Q_OBJECT

 private slots:
  void topKMatchesReference();
  void rowsDoNotMix();
  void tiesComeByRisingIndexAndNanLast();
};

void CudaSampleTest::topKMatchesReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t V : {1, 100, 2048, 2049, 9001}) {
      const std::vector<float> logits = randomVector(V, 1);
      for (const std::int64_t k : {std::int64_t{1}, std::int64_t{50}, cuda::kMaxTopK}) {
        if (k > V) continue;
        const Top actual = topOf(logits, k, onTheCard);
        const Top expected = topOf(logits, k, plainly);
        QVERIFY2(actual.indices == expected.indices && actual.values == expected.values,
                 (order + ", V " + std::to_string(V) + ", k " + std::to_string(k)).c_str());
      }
    }
  });
}

void CudaSampleTest::rowsDoNotMix() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t V : {1000, 9001}) {
      constexpr std::int64_t kRows = 3;
      constexpr std::int64_t kBest = 300;
      const std::vector<float> logits = randomVector(kRows * V, 5);
      Top all{std::vector<std::int32_t>(kRows * kBest), std::vector<float>(kRows * kBest)};
      std::vector<std::uint64_t> workspace(asSize(kRows * cuda::topKWorkspace(V, kBest)), ~std::uint64_t{0});
      cuda::topK({logits.data(), V, kBest, all.indices.data(), all.values.data()}, workspace.data(), nullptr,
                 kRows);
      Top expected;
      for (std::int64_t row = 0; row < kRows; ++row) {
        const Top own = topOf({logits.begin() + row * V, logits.begin() + (row + 1) * V}, kBest, plainly);
        expected.indices.insert(expected.indices.end(), own.indices.begin(), own.indices.end());
        expected.values.insert(expected.values.end(), own.values.begin(), own.values.end());
      }
      QVERIFY2(all.indices == expected.indices && all.values == expected.values,
               (order + ", V " + std::to_string(V)).c_str());
    }
  });
}

void CudaSampleTest::tiesComeByRisingIndexAndNanLast() {
  std::vector<float> logits(5000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7919 % 13) - 6.0F;
  logits[17] = NAN;
  logits[18] = -0.0F;
  logits[19] = -INFINITY;
  for (const std::int64_t k : {3, 1000})
    QCOMPARE(topOf(logits, k, onTheCard).indices, topOf(logits, k, plainly).indices);
  const std::vector<float> few{NAN, -INFINITY, 1.0F, NAN, 2.0F};
  QCOMPARE(topOf(few, 5, onTheCard).indices, (std::vector<std::int32_t>{4, 2, 0, 1, 3}));
  QCOMPARE(topOf(few, 5, onTheCard).values, topOf(few, 5, plainly).values);
}

QTEST_APPLESS_MAIN(CudaSampleTest)
#include "sample_test.moc"
