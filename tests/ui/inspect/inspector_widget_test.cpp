// The real widget on a real (virtual) screen.
#include "ui/inspect/inspector_widget.h"

#include <QDockWidget>
#include <QMainWindow>
#include <QScreen>
#include <QtTest>

#include "tests/ui/inspect/synthetic_run.h"
#include "ui/timeline/timeline_widget.h"

using namespace eyrie::ui;

namespace {

constexpr int kPatience = 30000;  // ms: a busy machine draws its first frame late

}  // namespace

class InspectorWidgetTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase();
  void panelsAreNotBlank_data();
  void panelsAreNotBlank();
  void emptyInspectorSaysSo();
  void survivesUndockingAndDocking();
  void drawsFiveHundredFramesWhileTokensArrive();
  void clickShorterThanAFrameArrives();
  void idleWidgetDoesNotRepaint();
  void keysStepThroughTokens();
  void timelineKeysAndWheelWork();
  void ownersMayGoFirst();

 private:
  static QWidget* surface(const InspectorWidget& inspector) {
    return inspector.findChildren<QWidget*>(Qt::FindDirectChildrenOnly).last();
  }
  static int coloursIn(const QImage& image, const QRectF& rect);
};

void InspectorWidgetTest::initTestCase() {
  new ThemeController(*qApp, ThemeMode::light);
  // The server's pointer hovers over whatever is shown under it: out of the way.
  QCursor::setPos(QGuiApplication::primaryScreen()->geometry().bottomRight());
}

int InspectorWidgetTest::coloursIn(const QImage& image, const QRectF& rect) {
  QSet<QRgb> colours;
  const double ratio = image.devicePixelRatio();
  for (double y = rect.top(); y < rect.bottom(); y += 2)
    for (double x = rect.left(); x < rect.right(); x += 2)
      if (image.rect().contains(QPoint(static_cast<int>(x * ratio), static_cast<int>(y * ratio))))
        colours.insert(image.pixel(static_cast<int>(x * ratio), static_cast<int>(y * ratio)));
  return static_cast<int>(colours.size());
}

void InspectorWidgetTest::panelsAreNotBlank_data() {
  QTest::addColumn<QString>("pattern");
  QTest::newRow("Griffin") << "RRARRA";
  QTest::newRow("Hawk") << "RRRRRR";
  QTest::newRow("global attention") << "RRGRRG";
}

void InspectorWidgetTest::panelsAreNotBlank() {
  QFETCH(QString, pattern);
  InspectedRun run;
  Selection selection;
  SyntheticOptions options;
  options.pattern = pattern.toStdString();
  fillSynthetic(run, options);
  InspectorWidget inspector;
  inspector.setRun(&run);
  inspector.setSelection(&selection);
  inspector.resize(800, 760);
  inspector.show();
  QVERIFY(QTest::qWaitForWindowExposed(&inspector, kPatience));
  QTRY_VERIFY_WITH_TIMEOUT(inspector.frames() > 0, kPatience);
  const QImage image = inspector.grab().toImage();
  for (const InspectorScene::Card& card : inspector.scene().prepare({800, 760})) {
    const bool hawkAttention = card.kind == ViewKind::attention && pattern == QLatin1String("RRRRRR");
    const int colours = coloursIn(image, card.rect.adjusted(4, 4, -4, -4));
    QVERIFY2(colours > (hawkAttention ? 4 : 12),
             qPrintable(QStringLiteral("%1: %2 colours").arg(viewName(card.kind)).arg(colours)));
  }
}

void InspectorWidgetTest::emptyInspectorSaysSo() {
  InspectorWidget inspector;
  inspector.resize(800, 760);
  inspector.show();
  QVERIFY(QTest::qWaitForWindowExposed(&inspector, kPatience));
  QTRY_VERIFY_WITH_TIMEOUT(inspector.frames() > 0, kPatience);
  QTRY_VERIFY_WITH_TIMEOUT(inspector.scene().description().contains(QStringLiteral("No model open")),
                           kPatience);
}

void InspectorWidgetTest::survivesUndockingAndDocking() {
  InspectedRun run;
  Selection selection;
  fillSynthetic(run, {});
  QMainWindow window;
  auto* dock = new QDockWidget(&window);
  auto* inspector = new InspectorWidget;
  inspector->setRun(&run);
  inspector->setSelection(&selection);
  dock->setWidget(inspector);
  window.setCentralWidget(new QWidget);
  window.addDockWidget(Qt::RightDockWidgetArea, dock);
  window.resize(1200, 800);
  window.show();
  QVERIFY(QTest::qWaitForWindowExposed(&window, kPatience));
  QTRY_VERIFY_WITH_TIMEOUT(inspector->frames() > 0, kPatience);
  for (int i = 0; i < 3; ++i) {
    const std::int64_t before = inspector->frames();
    dock->setFloating(i % 2 == 0);
    QVERIFY(QTest::qWaitForWindowExposed(inspector->window(), kPatience));
    surface(*inspector)->update();
    QTRY_VERIFY_WITH_TIMEOUT(inspector->frames() > before, kPatience);
  }
  const QImage image = inspector->grab().toImage();
  const auto& card =
      inspector->scene().prepare(inspector->size())[static_cast<std::size_t>(ViewKind::layerOverTime)];
  QVERIFY(coloursIn(image, card.rect.adjusted(20, 60, -20, -40)) > 20);
}

void InspectorWidgetTest::drawsFiveHundredFramesWhileTokensArrive() {
  InspectedRun run;
  Selection selection;
  SyntheticOptions options;
  options.tokens = 0;
  fillSynthetic(run, options);
  InspectorWidget inspector;
  inspector.setRun(&run);
  inspector.setSelection(&selection);
  inspector.resize(700, 700);
  inspector.show();
  QVERIFY(QTest::qWaitForWindowExposed(&inspector, kPatience));
  QElapsedTimer clock;
  clock.start();
  for (std::int64_t t = 0; t < 500; ++t) {
    appendSynthetic(run, t, t >= 100);
    emit run.traceChanged();
    inspector.grab();
  }
  QVERIFY2(inspector.frames() >= 500, qPrintable(QString::number(inspector.frames())));
  qInfo("%.1f ms a frame, token and picture together", static_cast<double>(clock.elapsed()) / 500);
}

void InspectorWidgetTest::clickShorterThanAFrameArrives() {
  InspectedRun run;
  Selection selection;
  fillSynthetic(run, {});
  InspectorWidget inspector;
  inspector.setRun(&run);
  inspector.setSelection(&selection);
  inspector.resize(800, 760);
  inspector.show();
  QVERIFY(QTest::qWaitForWindowExposed(&inspector, kPatience));
  QTRY_VERIFY_WITH_TIMEOUT(inspector.frames() > 0, kPatience);
  const auto& card = inspector.scene().prepare({800, 760})[static_cast<std::size_t>(ViewKind::layerOverTime)];
  const QPoint place = card.rect.center().toPoint();
  // Press and release before any frame is drawn.
  QTest::mousePress(surface(inspector), Qt::LeftButton, {}, place);
  QTest::mouseRelease(surface(inspector), Qt::LeftButton, {}, place);
  QTRY_VERIFY_WITH_TIMEOUT(selection.token() > 0, kPatience);
  QVERIFY(inspector.hasFocus() || !inspector.isActiveWindow());
}

void InspectorWidgetTest::idleWidgetDoesNotRepaint() {
  InspectedRun run;
  Selection selection;
  fillSynthetic(run, {});
  InspectorWidget inspector;
  inspector.setRun(&run);
  inspector.setSelection(&selection);
  inspector.resize(800, 760);
  inspector.show();
  QVERIFY(QTest::qWaitForWindowExposed(&inspector, kPatience));
  // Showing takes a few frames, late ones on a busy machine; then there must come a second without any.
  std::int64_t before = -1;
  const auto restsForASecond = [&] {
    before = inspector.frames();
    QTest::qWait(1000);
    return inspector.frames() == before;
  };
  bool rested = false;
  for (int attempt = 0; attempt < 5 && !rested; ++attempt) rested = restsForASecond();
  QVERIFY2(rested, qPrintable(QString("still painting: frame %1").arg(inspector.frames())));
}

void InspectorWidgetTest::keysStepThroughTokens() {
  InspectedRun run;
  Selection selection;
  fillSynthetic(run, {});
  InspectorWidget inspector;
  inspector.setRun(&run);
  inspector.setSelection(&selection);
  selection.selectToken(100);
  QTest::keyClick(&inspector, Qt::Key_Left);
  QCOMPARE(selection.token(), 99);
  QTest::keyClick(&inspector, Qt::Key_Right, Qt::ShiftModifier);
  QCOMPARE(selection.token(), 109);
  QTest::keyClick(&inspector, Qt::Key_End);
  QCOMPARE(selection.token(), -1);
  inspector.scene().setQuantity(GateQuantity::input);
  QCOMPARE(inspector.scene().state().quantity, GateQuantity::input);
}

void InspectorWidgetTest::timelineKeysAndWheelWork() {
  InspectedRun run;
  Selection selection;
  fillSynthetic(run, {});
  TimelineWidget timeline;
  timeline.setRun(&run);
  timeline.setSelection(&selection);
  timeline.resize(1200, 104);
  timeline.show();
  QVERIFY(QTest::qWaitForWindowExposed(&timeline, kPatience));
  QTest::keyClick(&timeline, Qt::Key_Home);
  QCOMPARE(selection.token(), 0);
  QTest::keyClick(&timeline, Qt::Key_Right);
  QCOMPARE(selection.token(), 1);
  const double count = timeline.timeRange()->span().count;
  QWheelEvent wheel({600, 60}, timeline.mapToGlobal(QPointF(600, 60)), {}, {0, 120}, Qt::NoButton,
                    Qt::NoModifier, Qt::NoScrollPhase, false);
  QApplication::sendEvent(&timeline, &wheel);
  QVERIFY(timeline.timeRange()->span().count < count);
  timeline.timeRange()->follow();
  QTest::mouseClick(&timeline, Qt::LeftButton, {}, {600, 60});
  QVERIFY(selection.token() > 50);
  QVERIFY(coloursIn(timeline.grab().toImage(), timeline.rect()) > 8);
}

void InspectorWidgetTest::ownersMayGoFirst() {
  InspectorWidget inspector;
  TimelineWidget timeline;
  {
    InspectedRun run;
    Selection selection;
    fillSynthetic(run, {});
    inspector.setRun(&run);
    inspector.setSelection(&selection);
    timeline.setRun(&run);
    timeline.setSelection(&selection);
    inspector.setTimeRange(timeline.timeRange());
    inspector.resize(800, 760);
    inspector.show();
    timeline.show();
    QTRY_VERIFY_WITH_TIMEOUT(inspector.frames() > 0, kPatience);
  }
  QMouseEvent move(QEvent::MouseMove, QPointF(200, 300), surface(inspector)->mapToGlobal(QPointF(200, 300)),
                   Qt::NoButton, Qt::NoButton, Qt::NoModifier);
  QApplication::sendEvent(surface(inspector), &move);
  QCoreApplication::processEvents();
  inspector.grab();
  timeline.grab();
}

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication app(argc, argv);
  InspectorWidgetTest test;
  return QTest::qExec(&test, argc, argv);
}
#include "inspector_widget_test.moc"
