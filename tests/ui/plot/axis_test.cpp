#include "ui/plot/axis.h"

#include <QtTest>

#include "ui/inspect/series_cache.h"
#include "ui/timeline/time_range.h"

using namespace eyrie::ui;

class AxisTest : public QObject {
  Q_OBJECT

 private slots:
  void decimationKeepsPeaks();
  void steppedRangesGrowInSteps();
  void followedSpanKeepsTheNewestAtTheRight();
};

void AxisTest::decimationKeepsPeaks() {
  std::vector<float> values(10000, 1.0F);
  values[7777] = 42;
  values[3333] = -5;
  float high = 0;
  float low = 0;
  const std::vector<MinMax> result = decimate(values, 0, 10000, 300);
  QVERIFY(result.size() <= 301);
  for (const MinMax& entry : result) {
    high = std::max(high, entry.high);
    low = std::min(low, entry.low);
  }
  QCOMPARE(high, 42.0F);
  QCOMPARE(low, -5.0F);
}

void AxisTest::steppedRangesGrowInSteps() {
  QCOMPARE(steppedTop(0.9), 1.0);
  QCOMPARE(steppedTop(1.1), 1.5);
  QCOMPARE(steppedTop(21), 30.0);
  QCOMPARE(steppedTop(-1), 1.0);
  QCOMPARE(steppedSpan(1, 1024), 64);
  QCOMPARE(steppedSpan(195, 1024), 224);
  QCOMPARE(steppedSpan(5000, 1024), 1024);
}

void AxisTest::followedSpanKeepsTheNewestAtTheRight() {
  TimeRange range;
  range.setSize(5000);
  QVERIFY(range.follows());
  QCOMPARE(range.span().first + range.span().count, 5000.0);
  range.travel(-100);
  QVERIFY(!range.follows());
  const TimeSpan still = range.span();
  range.setSize(5100);
  QCOMPARE(range.span(), still);
  range.follow();
  QCOMPARE(range.span().first + range.span().count, 5100.0);
  range.zoom(0.5, 5000);
  QVERIFY(range.span().count < 1000);
  range.reveal(3);
  QVERIFY(range.span().first <= 3);
}

QTEST_GUILESS_MAIN(AxisTest)
#include "axis_test.moc"
