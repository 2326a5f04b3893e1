#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Filter {
  std::int64_t R, K;
  std::vector<float> weight, bias;

  Filter(std::int64_t width, std::int64_t taps)
      : R(width), K(taps), weight(randomVector(taps * width, 1)), bias(randomVector(width, 2)) {}
};

// A whole sequence by the reference.
std::vector<float> whole(const Filter& f, const std::vector<float>& x) {
  std::vector<float> out(x.size());
  std::vector<float> tail(asSize((f.K - 1) * f.R), 0.0F);
  reference::conv1d({x.data(), tail.data(), f.weight.data(), f.bias.data(),
                     static_cast<std::int64_t>(x.size()) / f.R, f.R, f.K, out.data()});
  return out;
}

// The same in chunks on the card; the ring holds NaN before position 0.
std::vector<float> inChunks(const Filter& f, const std::vector<float>& x, std::int64_t chunk) {
  const std::int64_t T = static_cast<std::int64_t>(x.size()) / f.R;
  std::vector<float> out(x.size(), NAN);
  std::vector<float> ring(asSize(f.K * f.R), NAN);
  float* const rings[] = {ring.data()};
  for (std::int64_t t = 0; t < T; t += chunk) {
    const TestSequences one({std::min(chunk, T - t)}, {t});
    cuda::conv1d({x.data() + t * f.R, rings, f.weight.data(), f.bias.data(), one.rows(), one.T(), f.R, f.K,
                  out.data() + t * f.R},
                 nullptr);
  }
  return out;
}

}  // namespace

class CudaConv1dTest : public QObject {
  Q_OBJECT

 private slots:
  void trap11And12AnyChunkingMatchesReference();
  void sequencesOfAnyLengthShareALaunch();
  void trap10ToleranceRejectsReversedTaps();
};

void CudaConv1dTest::trap11And12AnyChunkingMatchesReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t K : {1, 2, 4}) {
      for (const std::int64_t R : {1, 33, 300}) {
        const Filter f(R, K);
        const std::vector<float> x = randomVector(11 * R, 3);
        for (const std::int64_t chunk : {1, 2, 3, 5, 11}) {
          EYRIE_VERIFY_CLOSE(inChunks(f, x, chunk), whole(f, x), toleranceFor("conv1d", K),
                             order + ", K " + std::to_string(K) + ", chunks of " + std::to_string(chunk));
        }
      }
    }
  });
}

// Of which one begins, one comes with fewer inputs than there are taps, one with none.
void CudaConv1dTest::sequencesOfAnyLengthShareALaunch() {
  const Filter f(37, 4);
  const std::vector<std::int64_t> before{0, 5, 4, 1, 6}, lengths{7, 1, 0, 2, 130};
  const TestSequences sequences(lengths, before);
  std::vector<std::vector<float>> rings;
  std::vector<float*> pointers;
  std::vector<float> x, expected;
  for (std::size_t n = 0; n < lengths.size(); ++n) {
    const std::vector<float> all =
        randomVector((before[n] + lengths[n]) * f.R, 50 + static_cast<unsigned>(n));
    const auto fresh = all.begin() + before[n] * f.R;
    rings.emplace_back(asSize(f.K * f.R), NAN);
    for (std::int64_t p = 0; p < before[n]; ++p)
      std::copy_n(all.begin() + p * f.R, f.R, rings[n].begin() + p % f.K * f.R);
    x.insert(x.end(), fresh, all.end());
    const std::vector<float> out = whole(f, all);
    expected.insert(expected.end(), out.begin() + before[n] * f.R, out.end());
  }
  const std::vector<std::vector<float>> unread = rings;
  for (std::vector<float>& ring : rings) pointers.push_back(ring.data());
  forEachOrder([&](const std::string& order) {
    std::copy(unread.begin(), unread.end(), rings.begin());
    std::vector<float> out(x.size(), NAN);
    cuda::conv1d({x.data(), pointers.data(), f.weight.data(), f.bias.data(), sequences.rows(), sequences.T(),
                  f.R, f.K, out.data()},
                 nullptr);
    EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("conv1d", f.K), order);
    for (std::size_t n = 0; n < lengths.size(); ++n) {
      for (std::int64_t t = std::max<std::int64_t>(0, lengths[n] - f.K); t < lengths[n]; ++t) {
        const float* const slot = rings[n].data() + (before[n] + t) % f.K * f.R;
        const float* const input = x.data() + (sequences.begin(n) + t) * f.R;
        QVERIFY2(std::equal(slot, slot + f.R, input), "the ring has another input");
      }
    }
    QVERIFY2(rings[2] == unread[2], "a sequence without rows was written to");
  });
}

void CudaConv1dTest::trap10ToleranceRejectsReversedTaps() {
  const Filter f(20, 4);
  Filter reversed = f;
  for (std::int64_t k = 0; k < 4; ++k)
    std::copy_n(f.weight.begin() + k * 20, 20, reversed.weight.begin() + (3 - k) * 20);
  const std::vector<float> x = randomVector(9 * 20, 4);
  EYRIE_VERIFY_REJECTS(inChunks(reversed, x, 3), whole(f, x), toleranceFor("conv1d", 4), "taps reversed");
}

QTEST_APPLESS_MAIN(CudaConv1dTest)
#include "conv1d_test.moc"
