#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

class CudaGatedMlpTest : public QObject {
  Q_OBJECT

 private slots:
  void everyActivationMatchesReference();
  void trap14ToleranceRejectsErfGeluAndSwappedHalves();
};

void CudaGatedMlpTest::everyActivationMatchesReference() {
  forEachOrder([](const std::string& order) {
    for (const Activation activation :
         {Activation::geluTanh, Activation::silu, Activation::gelu, Activation::relu}) {
      for (const std::int64_t n : {0, 1, 255, 256, 1000}) {
        std::vector<float> gate = randomVector(n, 1, 3.0F);
        const std::vector<float> up = randomVector(n, 2);
        std::vector<float> expected(asSize(n));
        reference::gatedActivation({gate.data(), up.data(), n, activation, expected.data()});
        cuda::gatedActivation({gate.data(), up.data(), n, activation, gate.data()}, nullptr);
        EYRIE_VERIFY_CLOSE(gate, expected, toleranceFor("gatedActivation", 1), order);
      }
    }
  });
}

void CudaGatedMlpTest::trap14ToleranceRejectsErfGeluAndSwappedHalves() {
  const std::vector<float> gate = randomVector(100, 3);
  const std::vector<float> up = randomVector(100, 4);
  std::vector<float> expected(100), out(100);
  reference::gatedActivation({gate.data(), up.data(), 100, Activation::geluTanh, expected.data()});
  const double bound = toleranceFor("gatedActivation", 1);
  cuda::gatedActivation({gate.data(), up.data(), 100, Activation::gelu, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, bound, "erf GELU");
  cuda::gatedActivation({up.data(), gate.data(), 100, Activation::geluTanh, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, bound, "gate and up swapped");
}

QTEST_APPLESS_MAIN(CudaGatedMlpTest)
#include "gated_mlp_test.moc"
