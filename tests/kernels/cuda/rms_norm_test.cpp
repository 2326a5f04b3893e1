#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

class CudaRmsNormTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesReference();
  void mayWorkInPlace();
  void toleranceRejectsBrokenVariants();
};

void CudaRmsNormTest::matchesReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t D : {1, 5, 31, 32, 33, 257, 1030}) {
      const std::vector<float> x = randomVector(3 * D, 11);
      const std::vector<float> w = randomVector(D, 12, 0.3F);
      std::vector<float> expected(x.size()), out(x.size(), NAN);
      reference::rmsNorm({x.data(), w.data(), 1e-6F, 3, D, expected.data()});
      cuda::rmsNorm({x.data(), w.data(), 1e-6F, 3, D, out.data()}, nullptr);
      EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("rmsNorm", D), order + ", D " + std::to_string(D));
    }
  });
}

void CudaRmsNormTest::mayWorkInPlace() {
  const std::vector<float> x = randomVector(2 * 300, 13);
  const std::vector<float> w = randomVector(300, 14, 0.3F);
  std::vector<float> expected(x.size());
  reference::rmsNorm({x.data(), w.data(), 1e-6F, 2, 300, expected.data()});
  forEachOrder([&](const std::string& order) {
    std::vector<float> inPlace = x;
    cuda::rmsNorm({inPlace.data(), w.data(), 1e-6F, 2, 300, inPlace.data()}, nullptr);
    EYRIE_VERIFY_CLOSE(inPlace, expected, toleranceFor("rmsNorm", 300), order);
  });
}

// Trap 16, with x so small that eps shows.
void CudaRmsNormTest::toleranceRejectsBrokenVariants() {
  const std::vector<float> x = randomVector(40, 15, 1e-4F);
  std::vector<float> w = randomVector(40, 16, 0.3F);
  std::vector<float> expected(40), out(40);
  reference::rmsNorm({x.data(), w.data(), 1e-6F, 1, 40, expected.data()});
  cuda::rmsNorm({x.data(), w.data(), 1e-5F, 1, 40, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, toleranceFor("rmsNorm", 40), "eps 1e-5");
  for (float& value : w) value -= 1.0F;
  cuda::rmsNorm({x.data(), w.data(), 1e-6F, 1, 40, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, toleranceFor("rmsNorm", 40), "weight without + 1");
}

QTEST_APPLESS_MAIN(CudaRmsNormTest)
#include "rms_norm_test.moc"
