#include "kernels/dtype.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/widen.h"
#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

// Value of a binary16 number by its definition.
double f16ByDefinition(unsigned bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>((bits >> 10) & 31U);
  const double mantissa = bits & 0x3ffU;
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024.0 + mantissa, exponent - 25);
}

bool sameOrBothNan(float a, double b) {
  return std::isnan(a) ? std::isnan(b) : static_cast<double>(a) == b;
}

}  // namespace

class DtypeTest : public QObject {
  Q_OBJECT

 private slots:
  void everyF16WidensByDefinitionAndReturns();
  void everyBf16WidensByDefinitionAndReturns();
  void narrowingRoundsToNearestEven();
  void widenElementsAgreesWithLoadAsFloat();
};

void DtypeTest::everyF16WidensByDefinitionAndReturns() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = f16ToFloat(static_cast<std::uint16_t>(bits));
    const QByteArray where = QByteArray::number(bits, 16);
    QVERIFY2(sameOrBothNan(value, f16ByDefinition(bits)), where.constData());
    QVERIFY2(std::isnan(value) || std::signbit(value) == (bits >= 0x8000U), where.constData());
    const std::uint16_t back = floatToF16(value);
    QVERIFY2(std::isnan(value) ? std::isnan(f16ToFloat(back)) : back == bits, where.constData());
  }
}

void DtypeTest::everyBf16WidensByDefinitionAndReturns() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bf16ToFloat(static_cast<std::uint16_t>(bits));
    const QByteArray where = QByteArray::number(bits, 16);
    QCOMPARE(std::bit_cast<std::uint32_t>(value), bits << 16);
    const std::uint16_t back = floatToBf16(value);
    QVERIFY2(std::isnan(value) ? std::isnan(bf16ToFloat(back)) : back == bits, where.constData());
  }
}

// Between each pair of neighbours: the midpoint goes to the even one, anything off it to the nearer one.
void DtypeTest::narrowingRoundsToNearestEven() {
  for (unsigned bits = 0; bits < 0x7bffU; ++bits) {
    const auto even = static_cast<std::uint16_t>((bits & 1U) == 0 ? bits : bits + 1);
    const auto middle = static_cast<float>((f16ByDefinition(bits) + f16ByDefinition(bits + 1)) / 2);
    QCOMPARE(floatToF16(middle), even);
    QCOMPARE(floatToF16(std::nextafter(middle, 0.0F)), static_cast<std::uint16_t>(bits));
    QCOMPARE(floatToF16(-std::nextafter(middle, INFINITY)), static_cast<std::uint16_t>(0x8000U | (bits + 1)));
  }
  QCOMPARE(floatToF16(65519.99F), std::uint16_t{0x7bff});
  QCOMPARE(floatToF16(65520.0F), std::uint16_t{0x7c00});
  QCOMPARE(floatToF16(std::numeric_limits<float>::max()), std::uint16_t{0x7c00});
  for (unsigned bits = 0; bits < 0x7f7fU; ++bits) {
    const float middle = std::bit_cast<float>((bits << 16) | 0x8000U);
    const auto even = static_cast<std::uint16_t>((bits & 1U) == 0 ? bits : bits + 1);
    QCOMPARE(floatToBf16(middle), even);
    QCOMPARE(floatToBf16(std::nextafter(middle, 0.0F)), static_cast<std::uint16_t>(bits));
    QCOMPARE(floatToBf16(std::nextafter(middle, INFINITY)), static_cast<std::uint16_t>(bits + 1));
  }
}

// All 65536 values of both 16-bit types through the vector code, on every instruction set.
void DtypeTest::widenElementsAgreesWithLoadAsFloat() {
  std::vector<std::uint16_t> all(65536);
  for (unsigned bits = 0; bits < 65536; ++bits) all[bits] = static_cast<std::uint16_t>(bits);
  forEachSetup([&](ThreadPool&, const std::string& setup) {
    for (const DType dtype : {DType::f16, DType::bf16}) {
      std::vector<float> wide(all.size());
      cpu::widenElements(all.data(), dtype, 0, 65536, 1.0F, wide.data());
      for (std::size_t i = 0; i < all.size(); ++i) {
        const float expected = loadAsFloat(all.data(), dtype, i);
        const bool same = std::isnan(expected) ? std::isnan(wide[i]) : wide[i] == expected;
        QVERIFY2(same,
                 qPrintable(QString::fromStdString(setup + " " + dtypeName(dtype)) + QString::number(i, 16)));
      }
    }
    for (const std::int64_t n : tailLengths()) {
      const StoredMatrix matrix = randomMatrix(1, n, DType::bf16, 3, 1);
      std::vector<float> wide(asSize(n));
      cpu::widenElements(matrix.view.data, DType::bf16, 0, n, 1.0F, wide.data());
      QCOMPARE(wide, matrix.values);
    }
  });
}

QTEST_APPLESS_MAIN(DtypeTest)
#include "dtype_test.moc"
