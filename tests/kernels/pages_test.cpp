#include "kernels/pages.h"

#include <QTest>
#include <limits>
#include <numeric>
#include <vector>

using eyrie::kernels::HugePageAllocator;
using eyrie::kernels::Pages;

namespace {

using Floats = std::vector<float, HugePageAllocator<float>>;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

class PagesTest : public QObject {
  Q_OBJECT

 private slots:
  void pagesAreZero();
  void largeVectorsBeginOnAHugePage();
  void growingAndCopyingKeepsValues();
  void sizesThatNoMachineHasAreRefused();
};

void PagesTest::pagesAreZero() {
  const Pages pages(kHugePage + 1);
  QCOMPARE(pages.bytes().size(), kHugePage + 1);
  for (const std::byte b : pages.bytes()) QVERIFY(b == std::byte{0});
  QCOMPARE(Pages(0).bytes().size(), std::size_t{0});
}

void PagesTest::largeVectorsBeginOnAHugePage() {
  for (const std::size_t bytes : {HugePageAllocator<float>::kFrom, kHugePage, kHugePage + 4, 3 * kHugePage}) {
    const std::vector<Floats> several(3, Floats(bytes / sizeof(float), 1.0F));
    for (const Floats& floats : several) {
      const auto offset = reinterpret_cast<std::uintptr_t>(floats.data()) % kHugePage;
      QVERIFY2(offset == 0, qPrintable(QString("%1 bytes begin %2 bytes late").arg(bytes).arg(offset)));
    }
  }
}

void PagesTest::growingAndCopyingKeepsValues() {
  Floats floats;
  for (const std::size_t n : {1, 1000, 393'215, 393'216, 524'288, 524'289, 2'000'000}) {
    const std::size_t before = floats.size();
    floats.resize(n);
    std::iota(floats.begin() + static_cast<std::ptrdiff_t>(before), floats.end(), static_cast<float>(before));
    const Floats copy = floats;
    QVERIFY(copy.data() != floats.data());
    for (std::size_t i = 0; i < n; ++i) {
      if (copy[i] != static_cast<float>(i)) QCOMPARE(copy[i], static_cast<float>(i));
    }
  }
}

void PagesTest::sizesThatNoMachineHasAreRefused() {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  for (const std::size_t bytes : {kMost, kMost - kHugePage, kMost / 2}) {
    QVERIFY_EXCEPTION_THROWN(eyrie::kernels::allocateHugePages(bytes), std::bad_alloc);
  }
  QVERIFY_EXCEPTION_THROWN(HugePageAllocator<float>().allocate(kMost / 2), std::bad_alloc);
}

QTEST_APPLESS_MAIN(PagesTest)
#include "pages_test.moc"
