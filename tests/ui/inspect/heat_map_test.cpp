#include "ui/inspect/heat_map.h"

#include <QtTest>

#include "tests/ui/inspect/synthetic_run.h"

using namespace eyrie;
using namespace eyrie::ui;

namespace {

HeatMapRequest requestFor(double tokens) {
  HeatMapRequest request;
  request.scale = {0.1, 1000, 0, 1, true};
  request.time = {0, tokens};
  request.width = 600;
  request.height = 100;
  return request;
}

}  // namespace

class HeatMapTest : public QObject {
  Q_OBJECT

 private slots:
  void drawsOnlyNewColumns();
  void survivesABranch();
  void drawsFramesThatCameLate();
};

void HeatMapTest::drawsOnlyNewColumns() {
  InspectedRun run;
  fillSynthetic(run, {});
  const HeatMapRequest request = requestFor(512);
  HeatMap map;
  map.update(run, request);
  for (std::int64_t t = 195; t < 400; ++t) appendSynthetic(run, t, true);
  map.update(run, request);  // sorts once more on the way
  const std::int64_t before = map.columnsDrawn();
  for (std::int64_t t = 400; t < 404; ++t) appendSynthetic(run, t, true);
  const QImage grown = map.update(run, request);
  QVERIFY2(map.columnsDrawn() - before <= 70, qPrintable(QString::number(map.columnsDrawn() - before)));
  QCOMPARE(qAlpha(grown.pixel(450, 10)), 0);
  QVERIFY(qAlpha(grown.pixel(403, 10)) == 255);
}

void HeatMapTest::survivesABranch() {
  InspectedRun run;
  fillSynthetic(run, {});
  HeatMapRequest request = requestFor(256);
  request.sorted = false;
  HeatMap map;
  map.update(run, request);
  run.trace.truncate(50);
  for (std::int64_t t = 50; t < 220; ++t) appendSynthetic(run, t, true, 77);
  HeatMap fresh;
  QCOMPARE(map.update(run, request), fresh.update(run, request));
}

void HeatMapTest::drawsFramesThatCameLate() {
  InspectedRun run;
  fillSynthetic(run, {});
  std::vector<engine::TokenRecord> records;
  for (std::int64_t t = 0; t < run.trace.size(); ++t) records.push_back(run.trace.token(t));
  run.trace.truncate(0);
  for (const engine::TokenRecord& record : records) run.trace.append(record);
  const HeatMapRequest request = requestFor(256);
  HeatMap map;
  map.update(run, request);
  for (const engine::TokenRecord& record : records) {
    engine::TraceFrame frame{record.position, record.token, {}};
    frame.values.assign(static_cast<std::size_t>(run.trace.layout().frameSize()), -0.1F);
    run.trace.append(frame);
  }
  HeatMap fresh;
  QCOMPARE(map.update(run, request), fresh.update(run, request));
}

QTEST_MAIN(HeatMapTest)
#include "heat_map_test.moc"
