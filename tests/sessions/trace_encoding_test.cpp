// The bits of a trace file: halves and checksums.
#include <QtTest>
#include <limits>

#include "sessions/export/crc32.h"
#include "sessions/export/half.h"

namespace eyrie::sessions {

class TraceEncodingTest : public QObject {
  Q_OBJECT

 private slots:
  void halfRoundsAsIeee_data() {
    QTest::addColumn<float>("value");
    QTest::addColumn<int>("half");
    QTest::newRow("one") << 1.0F << 0x3C00;
    QTest::newRow("minus two") << -2.0F << 0xC000;
    QTest::newRow("zero") << 0.0F << 0;
    QTest::newRow("minus zero") << -0.0F << 0x8000;
    QTest::newRow("largest") << 65504.0F << 0x7BFF;
    QTest::newRow("rounds down to the largest") << 65519.9F << 0x7BFF;
    QTest::newRow("too large") << 65520.0F << 0x7C00;
    QTest::newRow("infinity") << std::numeric_limits<float>::infinity() << 0x7C00;
    QTest::newRow("smallest normal") << 6.103515625e-5F << 0x0400;
    QTest::newRow("smallest subnormal") << 5.9604645e-8F << 0x0001;
    QTest::newRow("half of it ties to even") << 2.9802322e-8F << 0x0000;
    QTest::newRow("just above half of it") << 2.9802326e-8F << 0x0001;
    QTest::newRow("three halves of it tie to even") << 8.940697e-8F << 0x0002;
    QTest::newRow("tie to even below") << 1.00048828125F << 0x3C00;
    QTest::newRow("tie to even above") << 1.00146484375F << 0x3C02;
    QTest::newRow("carry into the exponent") << 1.99999F << 0x4000;
    QTest::newRow("subnormal carries into normal") << 6.1035153e-5F << 0x0400;
  }
  void halfRoundsAsIeee() {
    QFETCH(float, value);
    QFETCH(int, half);
    QCOMPARE(int(toHalf(value)), half);
  }

  void crcAgreesWithItsDefinition() {
    QCOMPARE(crc32(0, "123456789", 9), 0xCBF43926U);
    const std::string text(100, 'q');
    QCOMPARE(crc32(crc32(0, text.data(), 37), text.data() + 37, 63), crc32(0, text.data(), 100));
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::TraceEncodingTest)
#include "trace_encoding_test.moc"
