// Summaries of taps against sorting and summing, written out here.
#include <algorithm>

#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Taps {
  std::int64_t layers, N, C, R;
  std::vector<float> recurrence, input, logDecay, write, keep;  // (layers, N, C or R)

  Taps(std::int64_t allLayers, std::int64_t sequences, std::int64_t channels, std::int64_t width)
      : layers(allLayers),
        N(sequences),
        C(channels),
        R(width),
        recurrence(randomVector(layers * N * C, 1)),
        input(randomVector(layers * N * C, 2)),
        logDecay(randomVector(layers * N * C, 3)),
        write(randomVector(layers * N * R, 4)),
        keep(randomVector(layers * N * R, 5)) {
    for (float& value : logDecay) value = -std::abs(value) * 0.1F;
  }
};

double norm(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double{x[i]} * double{x[i]};
  return std::sqrt(sum);
}

double mean(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double{x[i]};
  return sum / static_cast<double>(n);
}

double halfLife(float logDecay) {
  return logDecay == 0.0F ? INFINITY : -std::log(2.0) / double{logDecay};
}

std::vector<float> plainly(const Taps& t) {
  std::vector<float> out;
  for (std::int64_t row = 0; row < t.layers * t.N; ++row) {
    const float* const write = t.write.data() + row * t.R;
    const float* const keep = t.keep.data() + row * t.R;
    std::vector<float> state(write, write + t.R);
    for (std::int64_t r = 0; r < t.R; ++r) state[asSize(r)] += keep[r];
    for (const double value : {norm(state.data(), t.R), mean(t.recurrence.data() + row * t.C, t.C),
                               mean(t.input.data() + row * t.C, t.C), norm(write, t.R), norm(keep, t.R)})
      out.push_back(static_cast<float>(value));
    std::vector<float> sorted(t.logDecay.begin() + row * t.C, t.logDecay.begin() + (row + 1) * t.C);
    std::sort(sorted.begin(), sorted.end());
    for (const double level : {0.05, 0.25, 0.5, 0.75, 0.95}) {
      const double place = level * static_cast<double>(t.C - 1);
      const auto lower = static_cast<std::size_t>(place);
      const double share = place - std::floor(place);
      const double low = halfLife(sorted[lower]);
      const double high = share > 0 ? halfLife(sorted[lower + 1]) : low;
      out.push_back(static_cast<float>(std::isinf(high) ? high : low + share * (high - low)));
    }
  }
  return out;
}

// The arrays of a layer one after the other, those of the next behind them.
std::vector<float> onTheCard(const Taps& t, bool swapGates = false) {
  const std::int64_t stride = 3 * t.N * t.C + 2 * t.N * t.R;
  std::vector<float> all;
  for (std::int64_t layer = 0; layer < t.layers; ++layer) {
    const auto add = [&](const std::vector<float>& from, std::int64_t width) {
      all.insert(all.end(), from.begin() + layer * t.N * width, from.begin() + (layer + 1) * t.N * width);
    };
    add(swapGates ? t.input : t.recurrence, t.C);
    add(swapGates ? t.recurrence : t.input, t.C);
    add(t.logDecay, t.C);
    add(t.write, t.R);
    add(t.keep, t.R);
  }
  std::vector<float> out(asSize(t.layers * t.N * cuda::kTapSummary), NAN);
  cuda::TapSummaryArgs args;
  args.recurrenceGate = all.data();
  args.inputGate = args.recurrenceGate + t.N * t.C;
  args.logDecay = args.inputGate + t.N * t.C;
  args.write = args.logDecay + t.N * t.C;
  args.keep = args.write + t.N * t.R;
  args.stride = stride;
  args.layers = t.layers;
  args.N = t.N;
  args.C = t.C;
  args.R = t.R;
  args.out = out.data();
  cuda::tapSummary(args, nullptr);
  return out;
}

// Each value for itself: half-lives are hundreds of times as large as means.
void verifyEach(const std::vector<float>& found, const std::vector<float>& expected,
                const std::string& name) {
  QCOMPARE(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool same = found[i] == expected[i] ||
                      std::abs(found[i] - expected[i]) <= 1e-5F * std::max(0.05F, std::abs(expected[i]));
    QVERIFY2(same, qPrintable(QString("%1: element %2 expected %3, found %4")
                                  .arg(QString::fromStdString(name))
                                  .arg(i)
                                  .arg(double{expected[i]})
                                  .arg(double{found[i]})));
  }
}

}  // namespace

class CudaTapSummaryTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesSortingAndSumming();
  void equalDecaysAndZerosHaveTheirPlaces();
  void notANumberHasNoQuantiles();
  void swappedGatesAreRejected();
};

void CudaTapSummaryTest::matchesSortingAndSumming() {
  forEachOrder([](const std::string& order) {
    for (const auto& [layers, N, C, R] : {std::array{2L, 2L, 41L, 41L}, std::array{1L, 3L, 1L, 2L},
                                          std::array{1L, 1L, 300L, 600L}, std::array{2L, 1L, 7L, 7L}}) {
      const Taps taps(layers, N, C, R);
      verifyEach(onTheCard(taps), plainly(taps), order + ", C " + std::to_string(C));
    }
  });
}

void CudaTapSummaryTest::equalDecaysAndZerosHaveTheirPlaces() {
  Taps taps(1, 1, 60, 60);
  for (std::size_t c = 0; c < 60; ++c) taps.logDecay[c] = c % 3 == 0 ? -0.5F : c % 3 == 1 ? -0.25F : 0.0F;
  taps.logDecay[5] = -0.0F;
  const std::vector<float> found = onTheCard(taps);
  verifyEach(found, plainly(taps), "equal");
  QVERIFY(std::isinf(found.back()));
}

void CudaTapSummaryTest::notANumberHasNoQuantiles() {
  Taps taps(1, 2, 30, 30);
  taps.logDecay[40] = NAN;  // the second sequence's
  const std::vector<float> found = onTheCard(taps);
  for (std::size_t i = 5; i < 10; ++i) QVERIFY(std::isfinite(found[i]) && std::isnan(found[10 + i]));
  QVERIFY(std::isfinite(found[10]));
}

void CudaTapSummaryTest::swappedGatesAreRejected() {
  const Taps taps(1, 1, 50, 50);
  const std::vector<float> found = onTheCard(taps, true);
  const std::vector<float> expected = plainly(taps);
  QVERIFY(std::abs(found[1] - expected[1]) > 1e-3F && std::abs(found[2] - expected[2]) > 1e-3F);
}

QTEST_APPLESS_MAIN(CudaTapSummaryTest)
#include "tap_summary_test.moc"
