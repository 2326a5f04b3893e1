// The probes of a card on the emulator: that they run and count what they say. How fast is nobody's test.
#include "kernels/cuda/ceilings.h"

#include <QTest>
#include <cmath>

#include "kernels/rg_lru.h"

using namespace eyrie::kernels;

class CudaCeilingsTest : public QObject {
  Q_OBJECT

 private slots:
  void copiesHaveARate();
  void uploadsHaveARate();
  void productsHaveARate();
  void scanCountsEverySequence();
};

void CudaCeilingsTest::copiesHaveARate() {
  cuda::CopyProbe probe(1 << 16);
  const double rate = probe.bytesPerSecond();
  QVERIFY2(std::isfinite(rate) && rate > 0, qPrintable(QString::number(rate)));
}

void CudaCeilingsTest::uploadsHaveARate() {
  cuda::UploadProbe probe(1 << 16);
  for (const double rate : {probe.busBytesPerSecond(), probe.bytesPerSecond()})
    QVERIFY2(std::isfinite(rate) && rate > 0, qPrintable(QString::number(rate)));
}

void CudaCeilingsTest::productsHaveARate() {
  cuda::GemmProbe probe({{8, 16, 32}, {8, 32, 16}, {3, 5, 7}});
  const double rate = probe.flopsPerSecond();
  QVERIFY2(std::isfinite(rate) && rate > 0, qPrintable(QString::number(rate)));
}

void CudaCeilingsTest::scanCountsEverySequence() {
  cuda::ScanProbe one(40, 33, 1);
  cuda::ScanProbe three(40, 33, 3);
  RgLruArgs rows;
  rows.T = 3 * 40;
  rows.R = 33;
  QCOMPARE(three.cost().bytes, opCost(rows).bytes);
  QCOMPARE(three.cost().flops, 3 * one.cost().flops);
  const double seconds = three.seconds();
  QVERIFY2(std::isfinite(seconds) && seconds > 0, qPrintable(QString::number(seconds)));
}

QTEST_GUILESS_MAIN(CudaCeilingsTest)
#include "ceilings_test.moc"
