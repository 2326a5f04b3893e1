#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

std::vector<float> statsOf(const LogitStats& stats) {
  return {stats.max, stats.logSumExp, stats.entropy};
}

std::vector<float> onTheCard(const std::vector<float>& logits) {
  const auto V = static_cast<std::int64_t>(logits.size());
  std::vector<float> workspace(asSize(cuda::logitStatsWorkspace(V)), NAN);
  LogitStats stats;
  cuda::logitStats(logits.data(), V, workspace.data(), &stats, nullptr);
  return statsOf(stats);
}

}  // namespace

class CudaLogitsTest : public QObject {
  Q_OBJECT

 private slots:
  void trap27SoftCapMatchesReference();
  void trap28NoCapLeavesLogitsAlone();
  void statsMatchReference();
  void statsOfSeveralRowsAndOfThemScaled();
};

void CudaLogitsTest::trap27SoftCapMatchesReference() {
  forEachOrder([](const std::string& order) {
    std::vector<float> logits = randomVector(300, 1, 40.0F);
    std::vector<float> expected = logits;
    const std::vector<float> uncapped = logits;
    reference::softCap({expected.data(), 300, 30.0F});
    cuda::softCap({logits.data(), 300, 30.0F}, nullptr);
    EYRIE_VERIFY_CLOSE(logits, expected, toleranceFor("softCap", 1), order);
    EYRIE_VERIFY_REJECTS(uncapped, expected, toleranceFor("softCap", 1), "no cap");
  });
}

void CudaLogitsTest::trap28NoCapLeavesLogitsAlone() {
  std::vector<float> logits{1.0F, 100.0F, -100.0F};
  cuda::softCap({logits.data(), 3, 0.0F}, nullptr);
  QCOMPARE(logits, (std::vector<float>{1.0F, 100.0F, -100.0F}));
}

void CudaLogitsTest::statsMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t V : {1, 5, 257, 4096, 4097, 9000}) {
      std::vector<float> logits = randomVector(V, 2, 3.0F);
      if (V == 9000) std::fill(logits.begin(), logits.begin() + 4500, -INFINITY);  // a whole part and more
      const std::vector<float> expected = statsOf(reference::logitStats(logits.data(), V));
      const std::string name = order + ", V " + std::to_string(V);
      EYRIE_VERIFY_CLOSE(onTheCard(logits), expected, toleranceFor("logitStats", V), name);
      if (V == 1) continue;
      const std::vector<float> shorter(logits.begin(), logits.end() - V / 3 - 1);
      EYRIE_VERIFY_REJECTS(onTheCard(shorter), expected, toleranceFor("logitStats", V),
                           "the last third left out");
    }
  });
}

void CudaLogitsTest::statsOfSeveralRowsAndOfThemScaled() {
  forEachOrder([](const std::string& order) {
    constexpr std::int64_t kRows = 3;
    constexpr std::int64_t kV = 5000;
    const std::vector<float> logits = randomVector(kRows * kV, 3, 3.0F);
    const float scales[kRows] = {0.7F, 1.3F, 0.2F};
    std::vector<float> workspace(asSize(kRows * cuda::logitStatsWorkspace(kV)), NAN);
    LogitStats stats[kRows];
    LogitStats scaled[kRows];
    cuda::logitStats({logits.data(), kRows, kV, stats, scales, scaled, workspace.data()}, nullptr);
    for (std::int64_t row = 0; row < kRows; ++row) {
      const std::vector<float> own(logits.begin() + row * kV, logits.begin() + (row + 1) * kV);
      std::vector<float> less = own;
      for (float& logit : less) logit *= scales[row];
      const std::vector<float> expected = statsOf(reference::logitStats(less.data(), kV));
      EYRIE_VERIFY_CLOSE(statsOf(scaled[row]), expected, toleranceFor("logitStats", kV), order + " scaled");
      EYRIE_VERIFY_REJECTS(statsOf(stats[row]), expected, toleranceFor("logitStats", kV), "not scaled");
      QCOMPARE(statsOf(stats[row]), onTheCard(own));
    }
  });
}

QTEST_APPLESS_MAIN(CudaLogitsTest)
#include "logits_test.moc"
