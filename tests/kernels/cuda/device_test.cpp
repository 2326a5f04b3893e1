#include "kernels/cuda/device.h"

#include <QTest>

using eyrie::kernels::cuda::DeviceList;
using eyrie::kernels::cuda::listDevices;

class CudaDeviceTest : public QObject {
  Q_OBJECT

 private slots:
  void eitherDevicesOrAReason();
};

// Passes with and without a GPU, a driver or nvcc: what matters is that nothing crashes and the answer is
// whole.
void CudaDeviceTest::eitherDevicesOrAReason() {
  const DeviceList list = listDevices();
  QCOMPARE(list.devices.empty(), !list.reason.empty());
  QVERIFY(list.present >= static_cast<int>(list.devices.size()));
  QVERIFY(list.reason.find('\n') == std::string::npos);
  for (const auto& device : list.devices) {
    QVERIFY(!device.name.empty() && device.majorCapability >= 5 && device.totalMemory > 0);
  }
  qInfo("cuda: %zu devices%s%s", list.devices.size(), list.reason.empty() ? "" : ", ", list.reason.c_str());
}

QTEST_APPLESS_MAIN(CudaDeviceTest)
#include "device_test.moc"
