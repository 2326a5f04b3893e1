#include "ui/theme/theme.h"

#include <QtTest>
#include <cmath>

#include "ui/theme/colour_map.h"

using namespace eyrie::ui;

class ThemeTest : public QObject {
  Q_OBJECT

 private slots:
  void textIsReadable_data();
  void textIsReadable();
  void seriesColoursAreReadable();
  void sequentialMapsAreMonotoneInLuminance_data();
  void sequentialMapsAreMonotoneInLuminance();
  void divergingMapIsSymmetric();
  void weightsStartAtThePanel();
  void sampleClampsAndLeavesNanEmpty();
  void styleSheetHasNoUnknownToken();
  void fontsHaveTheSizesOfTheLook();
  void controllerSwitchesThePalette();
};

void ThemeTest::textIsReadable_data() {
  QTest::addColumn<bool>("dark");
  QTest::addColumn<QColor>("colour");
  QTest::addColumn<double>("least");
  for (const bool dark : {false, true}) {
    const Theme& theme = dark ? Theme::darkTheme() : Theme::light();
    const auto row = [&](const char* name, const QColor& colour, double least) {
      QTest::addRow("%s %s", dark ? "dark" : "light", name) << dark << colour << least;
    };
    row("text", theme.text, 4.5);
    row("dim", theme.dim, 4.5);
    row("faint", theme.faint, 3.4);
    row("accent", theme.accent, 4.5);
    row("recurrence", theme.recurrence, 4.5);
    row("attention", theme.attention, 4.5);
    row("Griffin", theme.griffin, 4.5);
    row("Hawk", theme.hawk, 4.5);
    row("good", theme.good, 4.5);
    row("warning", theme.warning, 4.5);
    row("error", theme.error, 4.5);
  }
}

void ThemeTest::textIsReadable() {
  QFETCH(bool, dark);
  QFETCH(QColor, colour);
  QFETCH(double, least);
  const Theme& theme = dark ? Theme::darkTheme() : Theme::light();
  for (const QColor& ground : {theme.window, theme.panel}) {
    const double ratio = contrast(colour, ground);
    QVERIFY2(ratio >= least, qPrintable(QStringLiteral("%1 on %2: %3, at least %4")
                                            .arg(colour.name(), ground.name())
                                            .arg(ratio, 0, 'f', 2)
                                            .arg(least)));
  }
  QVERIFY(contrast(theme.onAccent, theme.accent) >= 4.5);
  QVERIFY(contrast(theme.text, theme.accentGround) >= 4.5);
  QVERIFY(contrast(theme.accent, theme.accentGround) >= 4.5);
}

void ThemeTest::seriesColoursAreReadable() {
  for (const bool dark : {false, true}) {
    const Theme& theme = dark ? Theme::darkTheme() : Theme::light();
    for (const int count : {1, 4, 6, 18, 26}) {
      for (int i = 0; i < count; ++i) {
        const QColor colour = theme.series(i, count);
        const double ratio = contrast(colour, theme.panel);
        QVERIFY2(ratio >= 4.5, qPrintable(QStringLiteral("series %1 of %2, %3: %4")
                                              .arg(i)
                                              .arg(count)
                                              .arg(colour.name())
                                              .arg(ratio, 0, 'f', 2)));
      }
    }
  }
}

void ThemeTest::sequentialMapsAreMonotoneInLuminance_data() {
  QTest::addColumn<int>("map");
  QTest::addColumn<bool>("dark");
  QTest::addColumn<bool>("rising");
  QTest::newRow("viridis") << static_cast<int>(ColourMap::viridis) << false << true;
  QTest::newRow("weights, light") << static_cast<int>(ColourMap::weights) << false << false;
  QTest::newRow("weights, dark") << static_cast<int>(ColourMap::weights) << true << true;
}

void ThemeTest::sequentialMapsAreMonotoneInLuminance() {
  QFETCH(int, map);
  QFETCH(bool, dark);
  QFETCH(bool, rising);
  const ColourTable& table = colourTable(static_cast<ColourMap>(map), dark);
  for (std::size_t i = 4; i < table.size(); i += 4) {  // steps of four: rounding to 8 bits is not judged
    const double step = luminance(table[i]) - luminance(table[i - 4]);
    QVERIFY2(rising ? step > 0 : step < 0, qPrintable(QStringLiteral("at %1: %2").arg(i).arg(step)));
  }
}

void ThemeTest::divergingMapIsSymmetric() {
  const ColourTable& table = colourTable(ColourMap::diverging, false);
  for (std::size_t i = 0; i < 128; ++i) {
    const double low = luminance(table[i]);
    const double high = luminance(table[255 - i]);
    QVERIFY2(std::abs(low - high) < 0.012,
             qPrintable(QStringLiteral("%1: %2, %3").arg(i).arg(low).arg(high)));
    if (i >= 4) QVERIFY(low > luminance(table[i - 4]));
  }
  QVERIFY(luminance(table[127]) > 0.97);
  QVERIFY(qBlue(table[0]) > qRed(table[0]));
  QVERIFY(qRed(table[255]) > qBlue(table[255]));
}

void ThemeTest::weightsStartAtThePanel() {
  QCOMPARE(QColor(colourTable(ColourMap::weights, false)[0]), Theme::light().panel);
  QCOMPARE(QColor(colourTable(ColourMap::weights, true)[0]), Theme::darkTheme().panel);
}

void ThemeTest::sampleClampsAndLeavesNanEmpty() {
  const ColourTable& table = colourTable(ColourMap::viridis, false);
  QCOMPARE(sampleColour(table, -3), table[0]);
  QCOMPARE(sampleColour(table, 7), table[255]);
  QCOMPARE(qAlpha(sampleColour(table, std::nanf(""))), 0);
}

void ThemeTest::styleSheetHasNoUnknownToken() {
  QVERIFY(!themeStyleSheet(Theme::light()).contains('@'));
  QVERIFY(!themeStyleSheet(Theme::darkTheme()).contains('@'));
}

void ThemeTest::fontsHaveTheSizesOfTheLook() {
  QVERIFY(std::abs(themeFont(TextRole::body).pointSizeF() * 96 / 72 - 13) < 0.01);
  QVERIFY(std::abs(themeFont(TextRole::mono).pointSizeF() * 96 / 72 - 11.5) < 0.01);
  QCOMPARE(themeFont(TextRole::title).weight(), QFont::DemiBold);
}

void ThemeTest::controllerSwitchesThePalette() {
  auto* controller = new ThemeController(*qApp, ThemeMode::light);
  QSignalSpy changed(controller, &ThemeController::changed);
  QCOMPARE(qApp->palette().color(QPalette::Window), Theme::light().window);
  controller->setMode(ThemeMode::dark);
  QCOMPARE(changed.count(), 1);
  QVERIFY(Theme::current().dark);
  QCOMPARE(qApp->palette().color(QPalette::Window), Theme::darkTheme().window);
  QVERIFY(!themeIcon(QStringLiteral("tick-light")).isNull());
  controller->setMode(ThemeMode::light);
  delete controller;
}

QTEST_MAIN(ThemeTest)
#include "theme_test.moc"
