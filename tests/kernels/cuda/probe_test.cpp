#include "kernels/cuda/device.h"
#include "tests/cuda_emulator/streams.h"
#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie;
using namespace eyrie::kernels;

class CudaProbeTest : public QObject {
  Q_OBJECT

 private slots:
  void aDeviceThatRunsOurCodePasses();
  void aDeviceThatDoesNotSaysWhy();
};

void CudaProbeTest::aDeviceThatRunsOurCodePasses() {
  const std::uint64_t before = emulator::given();
  cuda::probeDevice();
  QCOMPARE(emulator::given() - before, 2U);  // the kernel, and its answer's way back
}

void CudaProbeTest::aDeviceThatDoesNotSaysWhy() {
  emulator::loseDevice(true);
  QVERIFY_THROWS_EXCEPTION(cuda::CudaError, cuda::probeDevice());
  emulator::loseDevice(false);
}

QTEST_APPLESS_MAIN(CudaProbeTest)
#include "probe_test.moc"
