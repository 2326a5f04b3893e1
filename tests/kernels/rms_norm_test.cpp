#include "kernels/rms_norm.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

enum class Defect { none, plainWeight, epsOutside, largeEps };

std::vector<double> exact(const std::vector<float>& x, const std::vector<float>& w, std::int64_t T,
                          std::int64_t D, Defect defect = Defect::none) {
  std::vector<double> out(x.size());
  const double eps = defect == Defect::largeEps ? 1e-5 : 1e-6;
  for (std::int64_t t = 0; t < T; ++t) {
    double mean = 0;
    for (std::int64_t d = 0; d < D; ++d) mean += std::pow(x[asSize(t * D + d)], 2) / static_cast<double>(D);
    const double norm = defect == Defect::epsOutside ? std::sqrt(mean) + eps : std::sqrt(mean + eps);
    for (std::int64_t d = 0; d < D; ++d) {
      const double weight = w[asSize(d)] + (defect == Defect::plainWeight ? 0.0 : 1.0);
      out[asSize(t * D + d)] = x[asSize(t * D + d)] / norm * weight;
    }
  }
  return out;
}

}  // namespace

class RmsNormTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAndReferenceMatchDoubleAtEveryTail();
  void longRowsStayAccurate();
  void trap16ZeroWeightIsThePlainNorm();
  void trap16TinyInputShowsEps();
  void mayWorkInPlace();
};

void RmsNormTest::cpuAndReferenceMatchDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const std::int64_t D : tailLengths()) {
      for (const std::int64_t offset : {0, 1, 3}) {
        const std::int64_t T = 3;
        const std::vector<float> x = randomVector(T * D, 11);
        const std::vector<float> w = randomVector(D, 12, 0.3F);
        OffsetArray in(x, offset);
        OffsetArray weight(w, offset);
        OffsetArray out(std::vector<float>(x.size()), offset);
        const RmsNormArgs args{in.data(), weight.data(), 1e-6F, T, D, out.data()};
        const std::string name = setup + ", D " + std::to_string(D);
        cpu::rmsNorm(args, pool);
        EYRIE_VERIFY_CLOSE(out.values(), exact(x, w, T, D), toleranceFor("rmsNorm", D), name);
        reference::rmsNorm(args);
        EYRIE_VERIFY_CLOSE(out.values(), exact(x, w, T, D), toleranceFor("rmsNorm", D), "reference " + name);
      }
    }
  });
}

void RmsNormTest::longRowsStayAccurate() {
  const std::int64_t T = 7;
  const std::int64_t D = 4096;
  const std::vector<float> x = randomVector(T * D, 13);
  const std::vector<float> w = randomVector(D, 14, 0.3F);
  std::vector<float> out(x.size());
  ThreadPool pool(2);
  cpu::rmsNorm({x.data(), w.data(), 1e-6F, T, D, out.data()}, pool);
  EYRIE_VERIFY_CLOSE(out, exact(x, w, T, D), toleranceFor("rmsNorm", D), "D 4096");
  EYRIE_VERIFY_REJECTS(exact(x, w, T, D, Defect::plainWeight), exact(x, w, T, D), toleranceFor("rmsNorm", D),
                       "weight without + 1");
}

void RmsNormTest::trap16ZeroWeightIsThePlainNorm() {
  const std::vector<float> x{3.0F, -4.0F};
  const std::vector<float> w(2, 0.0F);
  std::vector<float> out(2);
  ThreadPool pool(1);
  cpu::rmsNorm({x.data(), w.data(), 1e-6F, 1, 2, out.data()}, pool);
  QVERIFY(std::abs(out[0] - 3.0F / std::sqrt(12.5F)) < 1e-6F);
  QVERIFY(std::abs(out[1] + 4.0F / std::sqrt(12.5F)) < 1e-6F);
}

void RmsNormTest::trap16TinyInputShowsEps() {
  const std::int64_t D = 24;
  const std::vector<float> x = randomVector(D, 15, 1e-4F);
  const std::vector<float> w = randomVector(D, 16, 0.3F);
  std::vector<float> out(x.size());
  ThreadPool pool(1);
  cpu::rmsNorm({x.data(), w.data(), 1e-6F, 1, D, out.data()}, pool);
  const double bound = toleranceFor("rmsNorm", D);
  const std::vector<double> expected = exact(x, w, 1, D);
  EYRIE_VERIFY_CLOSE(out, expected, bound, "tiny input");
  EYRIE_VERIFY_REJECTS(exact(x, w, 1, D, Defect::epsOutside), expected, bound, "eps outside the root");
  EYRIE_VERIFY_REJECTS(exact(x, w, 1, D, Defect::largeEps), expected, bound, "eps 1e-5");
}

void RmsNormTest::mayWorkInPlace() {
  const std::vector<float> x = randomVector(3 * 21, 17);
  const std::vector<float> w = randomVector(21, 18);
  std::vector<float> inPlace = x;
  ThreadPool pool(2);
  cpu::rmsNorm({inPlace.data(), w.data(), 1e-6F, 3, 21, inPlace.data()}, pool);
  EYRIE_VERIFY_CLOSE(inPlace, exact(x, w, 3, 21), toleranceFor("rmsNorm", 21), "in place");
}

QTEST_APPLESS_MAIN(RmsNormTest)
#include "rms_norm_test.moc"
