#include "ui/inspect/views.h"

#include <QtTest>
#include <cmath>
#include <numeric>

#include "tests/ui/inspect/synthetic_run.h"
#include "ui/inspect/inspector_scene.h"
#include "ui/inspect/value_table.h"
#include "ui/timeline/timeline_widget.h"

using namespace eyrie;
using namespace eyrie::ui;

namespace {

DrawList prepare(ViewKind kind, const InspectedRun& run, const Selection& selection, ViewState state = {}) {
  const auto count = static_cast<double>(std::max<std::int64_t>(1, run.trace.size()));
  return makeView(kind)->prepare({run, selection, QSizeF(640, 240), Theme::light(), {0, count}, state, true});
}

QStringList texts(const DrawList& list) {
  QStringList result;
  for (const DrawItem& item : list.items)
    if (const auto* text = std::get_if<TextItem>(&item)) result << text->text;
  return result;
}

int images(const DrawList& list) {
  return static_cast<int>(std::count_if(list.items.begin(), list.items.end(), [](const DrawItem& item) {
    return std::holds_alternative<ImageItem>(item);
  }));
}

}  // namespace

class ViewsTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase() { QLocale::setDefault(QLocale::c()); }
  void halfLifeFollowsTheDefinition();
  void everyViewSaysWhatIsMissing_data();
  void everyViewSaysWhatIsMissing();
  void gatesShowARowALayerAndExactNumbers();
  void gatesAreSortedByHalfLife();
  void summaryLevelStillShowsHalfLives();
  void attentionCellsStandForTheirTokens();
  void attentionBeforeTheFirstTokenIsEmpty();
  void normsNameEveryLayerWithoutOverlap();
  void sharesAddUpToOneAndMatchTheRecurrence();
  void complexChannelsShowTheirLengths();
  void clicksReachTheSelection();
  void unchangedViewsAreNotPreparedAgain();
  void textNeverOverlapsTextInAxes();
  void horizonTicksKeepTheirDistance();
  void filesAreWrittenAndNotBlank_data();
  void filesAreWrittenAndNotBlank();
  void timelineTellsTheTokenUnderThePointer();
  void tableHoldsTheNumbersOfTheView();
};

void ViewsTest::halfLifeFollowsTheDefinition() {
  QVERIFY(std::abs(halfLife(std::log(0.5F)) - 1) < 1e-6F);
  QVERIFY(std::abs(halfLife(std::log(0.5F) / 93) - 93) < 1e-3F);
  QVERIFY(std::isinf(halfLife(0)));
  QCOMPARE(halfLife(-INFINITY), 0.0F);
}

void ViewsTest::everyViewSaysWhatIsMissing_data() {
  QTest::addColumn<int>("view");
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<QString>("part");
  for (int i = 0; i < kViewKinds; ++i)
    QTest::addRow("%s without a model", viewKey(static_cast<ViewKind>(i)))
        << i << QString() << "No model open";
  QTest::newRow("attention of Hawk") << static_cast<int>(ViewKind::attention) << "RRR"
                                     << "Hawk has no attention";
  QTest::newRow("gates of a Transformer") << static_cast<int>(ViewKind::gates) << "GG"
                                          << "no recurrent layers";
}

void ViewsTest::everyViewSaysWhatIsMissing() {
  QFETCH(int, view);
  QFETCH(QString, pattern);
  QFETCH(QString, part);
  InspectedRun run;
  Selection selection;
  SyntheticOptions options;
  options.pattern = pattern.toStdString();
  options.tokens = 20;
  if (!pattern.isEmpty()) fillSynthetic(run, options);
  const QString all = texts(prepare(static_cast<ViewKind>(view), run, selection)).join(QLatin1Char(' '));
  QVERIFY2(all.contains(part), qPrintable(all));
}

void ViewsTest::gatesShowARowALayerAndExactNumbers() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  selection.selectToken(150);
  const DrawList list = prepare(ViewKind::gates, run, selection);
  QCOMPARE(images(list), 5);  // four recurrent layers and the colour bar
  QVERIFY(texts(list).contains(QStringLiteral("Gates at token 150")));
  const Region* region = list.regionAt({300, 45});
  QVERIFY(region);
  const Hover hover = region->at({300, 45});
  QVERIFY2(hover.readOut.startsWith(QStringLiteral("Channel ")), qPrintable(hover.readOut));
  const int channel = hover.readOut.section(QLatin1Char(' '), 1, 1).toInt();
  const float value = channelValues(run, 0, GateQuantity::decay, 150)[static_cast<std::size_t>(channel)];
  QVERIFY2(hover.readOut.contains(QString::number(static_cast<double>(value), 'f', 4)),
           qPrintable(hover.readOut));
}

void ViewsTest::gatesAreSortedByHalfLife() {
  InspectedRun run;
  fillSynthetic(run, {});
  const std::vector<int> order = halfLifeOrder(run, 0, 100);
  const std::vector<float> values = channelValues(run, 0, GateQuantity::halfLife, 100);
  QCOMPARE(order.size(), values.size());
  for (std::size_t i = 1; i < order.size(); ++i)
    QVERIFY(values[static_cast<std::size_t>(order[i - 1])] >= values[static_cast<std::size_t>(order[i])]);
}

void ViewsTest::summaryLevelStillShowsHalfLives() {
  InspectedRun run;
  SyntheticOptions options;
  options.level = engine::TraceLevel::summary;
  fillSynthetic(run, options);
  Selection selection;
  QCOMPARE(images(prepare(ViewKind::gates, run, selection)), 5);
  const float quantiles[] = {1, 4, 16, 64, 256};
  QVERIFY(std::abs(halfLifeAtPlace(quantiles, 0.5) - 16) < 0.01F);
  QVERIFY(std::abs(halfLifeAtPlace(quantiles, 0.0) - 256) < 0.1F);
  const QString time = texts(prepare(ViewKind::layerOverTime, run, selection)).join(QLatin1Char(' '));
  QVERIFY2(time.contains(QStringLiteral("full")), qPrintable(time));
}

void ViewsTest::attentionCellsStandForTheirTokens() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  selection.selectToken(150);
  const DrawList list = prepare(ViewKind::attention, run, selection);
  const QRectF rows = list.regions.back().rect;
  const Hover newest = list.regions.back().at({rows.right() - 1, rows.top() + 2});
  QCOMPARE(newest.token, 150);
  const Hover oldest = list.regions.back().at({rows.left() + 1, rows.top() + 2});
  QCOMPARE(oldest.token, 150 - 128);
  QVERIFY(texts(list).contains(QStringLiteral("128 back (edge)")));
}

void ViewsTest::attentionBeforeTheFirstTokenIsEmpty() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  selection.selectToken(10);
  const DrawList list = prepare(ViewKind::attention, run, selection);
  const QRectF rows = list.regions.back().rect;
  QCOMPARE(list.regions.back().at({rows.left() + 1, rows.top() + 2}).token, -1);
}

void ViewsTest::normsNameEveryLayerWithoutOverlap() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  const DrawList list = prepare(ViewKind::norms, run, selection);
  std::vector<double> places;
  for (const DrawItem& item : list.items)
    if (const auto* text = std::get_if<TextItem>(&item);
        text && text->text.startsWith(QStringLiteral("layer ")))
      places.push_back(text->anchor.y());
  QCOMPARE(places.size(), std::size_t{4});
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i) QVERIFY(places[i] - places[i - 1] >= 13.9);
}

void ViewsTest::sharesAddUpToOneAndMatchTheRecurrence() {
  InspectedRun run;
  SyntheticOptions options;
  options.R = 20;
  options.tokens = 40;
  fillSynthetic(run, options);
  const std::vector<float> shares = stateShares(run, 0, 30);
  QCOMPARE(shares.size(), std::size_t{31});
  QVERIFY(std::abs(std::accumulate(shares.begin(), shares.end(), 0.0) - 1) < 1e-5);
  // Token 28's part by hand, against token 30's, which nothing has decayed.
  const auto at = [&](engine::Quantity quantity, std::int64_t token, std::int64_t channel) {
    return static_cast<double>(run.trace.value(*run.trace.layout().find(0, quantity), token, channel));
  };
  double old = 0;
  double now = 0;
  for (std::int64_t r = 0; r < 20; ++r) {
    old += std::abs(at(engine::Quantity::write, 28, r)) *
           std::exp(at(engine::Quantity::logDecay, 29, r) + at(engine::Quantity::logDecay, 30, r));
    now += std::abs(at(engine::Quantity::write, 30, r));
  }
  QVERIFY(std::abs(static_cast<double>(shares[28] / shares[30]) - old / now) < 1e-4);
}

void ViewsTest::complexChannelsShowTheirLengths() {
  InspectedRun run;
  SyntheticOptions options;
  options.R = 20;
  options.tokens = 40;
  options.rgLru = engine::RgLru::complex;
  fillSynthetic(run, options);
  const engine::TraceColumn& write = *run.trace.layout().find(0, engine::Quantity::write);
  const auto lengthAt = [&](std::int64_t token, std::int64_t channel) {
    return std::hypot(run.trace.value(write, token, channel), run.trace.value(write, token, 10 + channel));
  };
  const std::vector<float> written = channelValues(run, 0, GateQuantity::write, 30);
  QCOMPARE(written.size(), std::size_t{10});
  QCOMPARE(channelValues(run, 0, GateQuantity::decay, 30).size(), std::size_t{10});
  for (std::int64_t c = 0; c < 10; ++c) QCOMPARE(written[static_cast<std::size_t>(c)], lengthAt(30, c));
  const std::vector<float> shares = stateShares(run, 0, 30);
  QVERIFY(std::abs(std::accumulate(shares.begin(), shares.end(), 0.0) - 1) < 1e-5);
  const engine::TraceColumn& decay = *run.trace.layout().find(0, engine::Quantity::logDecay);
  double before = 0;
  double now = 0;
  for (std::int64_t c = 0; c < 10; ++c) {
    before +=
        static_cast<double>(lengthAt(29, c)) * std::exp(static_cast<double>(run.trace.value(decay, 30, c)));
    now += static_cast<double>(lengthAt(30, c));
  }
  QVERIFY(std::abs(static_cast<double>(shares[29] / shares[30]) - before / now) < 1e-4);
}

void ViewsTest::clicksReachTheSelection() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  InspectorScene scene;
  scene.setRun(&run);
  scene.setSelection(&selection);
  const auto& cards = scene.prepare({800, 760});
  const QRectF time = cards[static_cast<std::size_t>(ViewKind::layerOverTime)].rect;
  Pointer pointer;
  pointer.place = time.center();
  scene.point(pointer);
  QVERIFY(selection.hovered() > 0);
  QCOMPARE(selection.token(), -1);
  pointer.pressed = pointer.down = true;
  scene.point(pointer);
  QCOMPARE(selection.token(), selection.hovered());
  const std::int64_t first = selection.token();
  pointer.pressed = false;
  pointer.place += QPointF(40, 0);
  scene.point(pointer);  // dragging scrubs
  QVERIFY(selection.token() > first);
}

void ViewsTest::unchangedViewsAreNotPreparedAgain() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  InspectorScene scene;
  scene.setRun(&run);
  scene.setSelection(&selection);
  scene.prepare({800, 760});
  scene.prepare({800, 760});
  for (int i = 0; i < kViewKinds; ++i) QVERIFY(scene.prepared(static_cast<ViewKind>(i)) <= 2);
  const std::int64_t norms = scene.prepared(ViewKind::norms);
  const std::int64_t attention = scene.prepared(ViewKind::attention);
  selection.selectAttentionLayer(5);
  scene.prepare({800, 760});
  QCOMPARE(scene.prepared(ViewKind::attention), attention + 1);
  QVERIFY(scene.prepared(ViewKind::norms) <= norms + 1);
}

void ViewsTest::textNeverOverlapsTextInAxes() {
  InspectedRun run;
  fillSynthetic(run, {});
  for (const std::int64_t token : {0, 3, 60, 128, 150, 190, 194}) {
    Selection selection;
    selection.selectToken(token);
    for (const ViewKind kind :
         {ViewKind::layerOverTime, ViewKind::norms, ViewKind::attention, ViewKind::share}) {
      const DrawList list = prepare(kind, run, selection);
      std::vector<std::pair<QRectF, QString>> boxes;
      for (const DrawItem& item : list.items) {
        const auto* text = std::get_if<TextItem>(&item);
        if (!text) continue;
        const double width = textWidth(text->text, text->role);
        const double left = text->anchor.x() - (text->align == TextAlign::right    ? width
                                                : text->align == TextAlign::centre ? width / 2
                                                                                   : 0);
        const QRectF box(left, text->anchor.y() - 5, width, 10);
        QVERIFY2(box.left() >= 0 && box.right() <= 641, qPrintable(text->text));
        for (const auto& [other, otherText] : boxes)
          QVERIFY2(!box.intersects(other), qPrintable(QStringLiteral("%1: “%2” on “%4” at token %3")
                                                          .arg(QLatin1String(viewKey(kind)), text->text)
                                                          .arg(token)
                                                          .arg(otherText)));
        boxes.emplace_back(box, text->text);
      }
    }
  }
}

// At 1280 x 800 the panel is narrow, and the axis may reach a million tokens.
void ViewsTest::horizonTicksKeepTheirDistance() {
  InspectedRun run;
  fillSynthetic(run, {});
  const Selection selection;
  for (const double top : {1e3, 1e4, 1e5, 1e6}) {
    for (double width = 200; width <= 480; width += 20) {
      ViewState state;
      state.halfLifeTop = top;
      const DrawList list =
          makeView(ViewKind::horizon)
              ->prepare({run, selection, QSizeF(width, 200), Theme::light(), {0, 195}, state, true});
      std::vector<std::pair<double, double>> row;
      double last = 0;
      for (const DrawItem& item : list.items) {
        const auto* text = std::get_if<TextItem>(&item);
        if (!text || text->align != TextAlign::centre) continue;
        const double half = textWidth(text->text, text->role) / 2;
        for (const auto& [from, to] : row)
          QVERIFY2(text->anchor.x() - half > to + 4 || text->anchor.x() + half < from - 4,
                   qPrintable(QStringLiteral("“%1” at width %2").arg(text->text).arg(width)));
        row.emplace_back(text->anchor.x() - half, text->anchor.x() + half);
        last = std::max(last, text->anchor.x());
      }
      QVERIFY(row.size() >= 2);
      QVERIFY2(last > width - 60, "the end of the axis is named");
    }
  }
}

void ViewsTest::filesAreWrittenAndNotBlank_data() {
  QTest::addColumn<int>("view");
  QTest::addColumn<bool>("dark");
  for (int i = 0; i < kViewKinds; ++i)
    for (const bool dark : {false, true})
      QTest::addRow("%s %s", viewKey(static_cast<ViewKind>(i)), dark ? "dark" : "light") << i << dark;
}

void ViewsTest::filesAreWrittenAndNotBlank() {
  QFETCH(int, view);
  QFETCH(bool, dark);
  QTemporaryDir folder;
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  const auto kind = static_cast<ViewKind>(view);
  const ThemeMode mode = dark ? ThemeMode::dark : ThemeMode::light;
  const QString png = folder.filePath(QStringLiteral("view.png"));
  QVERIFY(renderView(kind, run, selection, {720, 360}, mode, png));
  const QImage image(png);
  QCOMPARE(image.size(), QSize(1440, 720));
  QSet<QRgb> colours;
  for (int y = 0; y < image.height(); y += 3)
    for (int x = 0; x < image.width(); x += 3) colours.insert(image.pixel(x, y));
  QVERIFY2(colours.size() > 20, qPrintable(QString::number(colours.size())));
  QCOMPARE(QColor(image.pixel(2, 2)), Theme::of(mode).panel);
  const QString svg = folder.filePath(QStringLiteral("view.svg"));
  QVERIFY(renderView(kind, run, selection, {720, 360}, mode, svg));
  QFile file(svg);
  QVERIFY(file.open(QIODevice::ReadOnly));
  const QByteArray text = file.readAll();
  QVERIFY(text.contains("<text"));
  const bool heatMap =
      kind == ViewKind::gates || kind == ViewKind::layerOverTime || kind == ViewKind::attention;
  QCOMPARE(text.contains("<image"), heatMap);
  QVERIFY(!renderView(kind, run, selection, {720, 360}, mode, QStringLiteral("/nowhere/view.png")));
  QVERIFY(!renderView(kind, run, selection, {720, 360}, mode, folder.filePath(QStringLiteral("view.txt"))));
}

void ViewsTest::timelineTellsTheTokenUnderThePointer() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  selection.selectToken(150);
  const DrawList list = prepareTimeline({run, selection, {1400, 104}, Theme::light(), {0, 195}});
  const Region* region = list.regionAt({700, 60});
  QVERIFY(region);
  const Hover hover = region->at({700, 60});
  QCOMPARE(hover.token, 97);
  QVERIFY2(hover.readOut.contains(QStringLiteral("bits")), qPrintable(hover.readOut));
  QVERIFY(texts(list).contains(QStringLiteral("local window of token 150")));
  QVERIFY(texts(list).contains(QStringLiteral("Griffin")));
  const float logprob = run.trace.token(97).logprob;
  QVERIFY(std::abs(timelineValue(run, selection, TimelineQuantity::surprisal, 97) +
                   static_cast<double>(logprob) / std::log(2.0)) < 1e-6);
}

void ViewsTest::tableHoldsTheNumbersOfTheView() {
  InspectedRun run;
  fillSynthetic(run, {});
  Selection selection;
  selection.selectToken(150);
  const ValueTable gates(ViewKind::gates, run, selection);
  QCOMPARE(gates.rowCount(), 160);
  QCOMPARE(gates.columnCount(), kGateQuantities);
  const ValueTable attention(ViewKind::attention, run, selection);
  QCOMPARE(attention.rowCount(), 129);
  QCOMPARE(attention.headerData(0, Qt::Vertical, Qt::DisplayRole).toString(), QStringLiteral("token 22"));
}

QTEST_MAIN(ViewsTest)
#include "views_test.moc"
