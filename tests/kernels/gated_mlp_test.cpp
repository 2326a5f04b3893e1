#include "kernels/gated_mlp.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

double activate(double x, Activation activation) {
  switch (activation) {
    case Activation::geluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1.0 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::relu:
      return std::max(x, 0.0);
  }
  return NAN;
}

std::vector<double> exact(const std::vector<float>& gate, const std::vector<float>& up,
                          Activation activation) {
  std::vector<double> out(gate.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = activate(gate[i], activation) * up[i];
  return out;
}

constexpr Activation kActivations[] = {Activation::geluTanh, Activation::silu, Activation::gelu,
                                       Activation::relu};

}  // namespace

class GatedMlpTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAndReferenceMatchDoubleAtEveryTail();
  void trap14TanhGeluIsNotErfGelu();
  void trap14GateAndUpAreNotSwapped();
  void extremeInputsStayFinite();
  void outMayBeAnInput();
};

void GatedMlpTest::cpuAndReferenceMatchDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    std::vector<std::int64_t> lengths = tailLengths();
    lengths.push_back(50001);
    for (const std::int64_t n : lengths) {
      const std::vector<float> gate = randomVector(n, 81, 3.0F);
      const std::vector<float> up = randomVector(n, 82);
      for (const Activation activation : kActivations) {
        OffsetArray g(gate, 1), u(up, 2), out(std::vector<float>(gate.size()), 3);
        const GatedActivationArgs args{g.data(), u.data(), n, activation, out.data()};
        const std::string name = setup + ", n " + std::to_string(n);
        cpu::gatedActivation(args, pool);
        EYRIE_VERIFY_CLOSE(out.values(), exact(gate, up, activation), toleranceFor("gatedActivation", 1),
                           name);
        reference::gatedActivation(args);
        EYRIE_VERIFY_CLOSE(out.values(), exact(gate, up, activation), toleranceFor("gatedActivation", 1),
                           "reference " + name);
      }
    }
  });
}

void GatedMlpTest::trap14TanhGeluIsNotErfGelu() {
  const std::vector<float> one{1.0F};
  std::vector<float> out(1);
  ThreadPool pool(1);
  cpu::gatedActivation({one.data(), one.data(), 1, Activation::geluTanh, out.data()}, pool);
  QVERIFY(std::abs(out[0] - 0.841192) < 1e-6);
  cpu::gatedActivation({one.data(), one.data(), 1, Activation::gelu, out.data()}, pool);
  QVERIFY(std::abs(out[0] - 0.841345) < 1e-6);
  const std::vector<float> gate = randomVector(64, 83);
  const std::vector<float> up = randomVector(64, 84);
  EYRIE_VERIFY_REJECTS(exact(gate, up, Activation::gelu), exact(gate, up, Activation::geluTanh),
                       toleranceFor("gatedActivation", 1), "erf instead of tanh");
}

void GatedMlpTest::trap14GateAndUpAreNotSwapped() {
  const std::vector<float> gate = randomVector(64, 85);
  const std::vector<float> up = randomVector(64, 86);
  EYRIE_VERIFY_REJECTS(exact(up, gate, Activation::geluTanh), exact(gate, up, Activation::geluTanh),
                       toleranceFor("gatedActivation", 1), "gate and up swapped");
}

void GatedMlpTest::extremeInputsStayFinite() {
  const std::vector<float> gate{-1e4F, -120.0F, -90.0F, -30.0F, -0.0F, 0.0F,
                                30.0F, 90.0F,   120.0F, 1e4F,   -1e10F};
  const std::vector<float> up(gate.size(), 1.0F);
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    for (const Activation activation : kActivations) {
      std::vector<float> out(gate.size());
      cpu::gatedActivation(
          {gate.data(), up.data(), static_cast<std::int64_t>(gate.size()), activation, out.data()}, pool);
      for (std::size_t i = 0; i < gate.size(); ++i) {
        const double error = std::abs(out[i] - activate(gate[i], activation));
        QVERIFY2(error <= 1e-6 * std::max(1.0, std::abs(double{gate[i]})), setup.c_str());
      }
    }
  });
}

void GatedMlpTest::outMayBeAnInput() {
  const std::vector<float> gate = randomVector(37, 87);
  const std::vector<float> up = randomVector(37, 88);
  ThreadPool pool(2);
  std::vector<float> a = gate;
  cpu::gatedActivation({a.data(), up.data(), 37, Activation::silu, a.data()}, pool);
  EYRIE_VERIFY_CLOSE(a, exact(gate, up, Activation::silu), toleranceFor("gatedActivation", 1), "out is gate");
  a = up;
  cpu::gatedActivation({gate.data(), a.data(), 37, Activation::silu, a.data()}, pool);
  EYRIE_VERIFY_CLOSE(a, exact(gate, up, Activation::silu), toleranceFor("gatedActivation", 1), "out is up");
}

QTEST_APPLESS_MAIN(GatedMlpTest)
#include "gated_mlp_test.moc"
