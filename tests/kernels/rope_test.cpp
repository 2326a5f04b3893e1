#include "kernels/rope.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

enum class Defect { none, interleaved, fullWidth, singlePrecisionAngle };

struct Shape {
  std::int64_t T, heads, Dh, rotary, firstPosition;
};

std::vector<double> exact(const std::vector<float>& x, const Shape& s, Defect defect = Defect::none) {
  std::vector<double> out(x.begin(), x.end());
  const std::int64_t rotary = defect == Defect::fullWidth ? s.Dh : s.rotary;
  for (std::int64_t row = 0; row < s.T * s.heads; ++row) {
    for (std::int64_t j = 0; j < rotary / 2; ++j) {
      const bool interleaved = defect == Defect::interleaved;
      const std::size_t a = asSize(row * s.Dh + (interleaved ? 2 * j : j));
      const std::size_t b = asSize(row * s.Dh + (interleaved ? 2 * j + 1 : j + rotary / 2));
      const auto position = static_cast<double>(s.firstPosition + row / s.heads);
      const double frequency = std::pow(10000.0, -2.0 * static_cast<double>(j) / static_cast<double>(rotary));
      double angle = position * frequency;
      if (defect == Defect::singlePrecisionAngle) angle = roundf(static_cast<float>(angle) * 256) / 256;
      out[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
      out[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
    }
  }
  return out;
}

}  // namespace

class RopeTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAndReferenceMatchDoubleAtEveryTail();
  void toleranceRejectsBrokenVariants();
  void trap20OneHotAndUntouchedHalf();
  void trap21FarPositionsKeepTheirAngles();
};

void RopeTest::cpuAndReferenceMatchDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (std::int64_t rotary = 0; rotary <= 70; rotary += 2) {
      const Shape s{3, 1 + rotary % 3, rotary + rotary % 5, rotary, 17};
      const std::vector<float> x = randomVector(s.T * s.heads * s.Dh, 61);
      const auto check = [&](auto run, const std::string& label) {
        OffsetArray data(x, 1 + rotary % 3);
        run(RopeArgs{data.data(), s.firstPosition, 10000.0, s.T, s.heads, s.Dh, s.rotary});
        EYRIE_VERIFY_CLOSE(data.values(), exact(x, s), toleranceFor("rope", 2), label);
      };
      const std::string name = setup + ", rotary " + std::to_string(rotary);
      check([&](const RopeArgs& args) { cpu::rope(args, pool); }, name);
      check([](const RopeArgs& args) { reference::rope(args); }, "reference " + name);
    }
  });
}

void RopeTest::toleranceRejectsBrokenVariants() {
  const Shape s{4, 2, 32, 16, 5};
  const std::vector<float> x = randomVector(s.T * s.heads * s.Dh, 62);
  const double bound = toleranceFor("rope", 2);
  EYRIE_VERIFY_REJECTS(exact(x, s, Defect::interleaved), exact(x, s), bound, "interleaved pairs");
  EYRIE_VERIFY_REJECTS(exact(x, s, Defect::fullWidth), exact(x, s), bound, "all dimensions rotated");
  EYRIE_VERIFY_REJECTS(exact(x, s, Defect::singlePrecisionAngle), exact(x, s), bound, "coarse angles");
}

void RopeTest::trap20OneHotAndUntouchedHalf() {
  const std::int64_t position = 3;
  std::vector<float> x = randomVector(256, 63);
  x[0] = 1.0F;
  x[64] = 0.0F;
  const std::vector<float> before = x;
  ThreadPool pool(1);
  cpu::rope({x.data(), position, 10000.0, 1, 1, 256, 128}, pool);
  QVERIFY(std::abs(x[0] - std::cos(3.0)) < 1e-6);
  QVERIFY(std::abs(x[64] - std::sin(3.0)) < 1e-6);
  QVERIFY(std::equal(x.begin() + 128, x.end(), before.begin() + 128));
}

void RopeTest::trap21FarPositionsKeepTheirAngles() {
  ThreadPool pool(1);
  for (const std::int64_t position : {std::int64_t{256}, std::int64_t{257}, std::int64_t{100000},
                                      std::int64_t{1000000}, std::int64_t{1} << 40}) {
    const Shape s{1, 1, 64, 32, position};
    const std::vector<float> original = randomVector(64, 64);
    std::vector<float> x = original;
    cpu::rope({x.data(), position, 10000.0, 1, 1, 64, 32}, pool);
    EYRIE_VERIFY_CLOSE(x, exact(original, s), toleranceFor("rope", 2),
                       "position " + std::to_string(position));
    x = original;
    reference::rope({x.data(), position, 10000.0, 1, 1, 64, 32});
    EYRIE_VERIFY_CLOSE(x, exact(original, s), toleranceFor("rope", 2),
                       "position " + std::to_string(position));
  }
  std::vector<float> at256(32, 1.0F);
  std::vector<float> at257(32, 1.0F);
  cpu::rope({at256.data(), 256, 10000.0, 1, 1, 32, 32}, pool);
  cpu::rope({at257.data(), 257, 10000.0, 1, 1, 32, 32}, pool);
  QVERIFY(at256[0] != at257[0]);
}

QTEST_APPLESS_MAIN(RopeTest)
#include "rope_test.moc"
