// Comparing: system prompt, a model of one's own in a lane, and comparisons that come back as such.
#include <QDir>
#include <QMenu>
#include <QSignalSpy>

#include "tests/app/window_driver.h"

using namespace eyrie;
using app::MainWindow;

class GuiCompareTest : public QObject {
  Q_OBJECT

 private:
  std::unique_ptr<WindowDriver> driver_;

  static void ask(MainWindow& window, const QString& text) {
    ui::Composer* composer = window.compare()->view()->composer();
    composer->sampling()->setChoice(WindowDriver::choice(10, 4));
    composer->setText(text);
    QTest::keyClick(WindowDriver::find<QPlainTextEdit>(*composer, "composerInput"), Qt::Key_Return);
    QVERIFY(window.compare()->isWriting());
    QTRY_VERIFY_WITH_TIMEOUT(!window.compare()->isWriting(), kPatience);
  }
  static QStringList words(MainWindow& window, int lane) {
    QStringList all;
    const ui::Conversation& conversation = window.compare()->conversation(lane);
    for (const ui::TurnId id : conversation.path()) all << conversation.turn(id).text;
    return all;
  }
  static bool diverges(MainWindow& window) {
    ui::DivergenceRow* row = window.compare()->view()->divergence();
    QTest::keyClick(row, Qt::Key_Right);
    return row->readout().contains("KL");
  }
  // A folder of one's own with the model of a built-in one.
  QString ownModel(const QString& name, const QString& builtIn) const {
    const QString folder = driver_->file(name);
    QDir().mkpath(folder);
    const QDir source(QStringLiteral(EYRIE_SOURCE_DIR "/assets/models/") + builtIn);
    for (const QString& file : source.entryList(QDir::Files)) {
      QFile::link(source.filePath(file), folder + QLatin1Char('/') + file);
    }
    return folder;
  }

 private slots:
  void init() { driver_ = std::make_unique<WindowDriver>(); }
  void cleanup() { driver_.reset(); }

  void systemPromptReachesBothAndTheComparisonReopens() {
    std::int64_t session = 0;
    QStringList left;
    QStringList right;
    {
      auto window = driver_->open();
      QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
      // What was asked of one model is asked of both.
      WindowDriver::find<ui::Composer>(*window, "composer")->setSystemPrompt("You are a gardener.");
      window->setLayoutPreset(app::Layout::compare);
      QTRY_VERIFY_WITH_TIMEOUT(window->compare()->hasModels(), kPatience);
      QVERIFY(WindowDriver::find<QWidget>(*window->compare()->view()->composer(), "systemPromptButton")
                  ->isVisible());
      ask(*window, "Hello! What do you like?");
      ask(*window, "And why?");
      for (int lane = 0; lane < 2; ++lane) {
        const QString sent =
            ui::promptAsText(*window->compare()->bridge(lane).model(), window->compare()->prompt(lane));
        QCOMPARE(sent.count("You are a gardener."), 1);
      }
      session = window->compare()->sessionId();
      QVERIFY(session > 0);
      left = words(*window, 0);
      right = words(*window, 1);
      QCOMPARE(left.size(), 4);
      QCOMPARE(left[0], right[0]);
      QVERIFY(left[1] != right[1]);
      window->close();
    }
    auto window = driver_->open(session);
    QTRY_COMPARE_WITH_TIMEOUT(words(*window, 0), left, kPatience);
    QCOMPARE(words(*window, 1), right);
    QTRY_VERIFY_WITH_TIMEOUT(window->compare()->view()->isVisible(), kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(window->compare()->hasModels(), kPatience);
    QCOMPARE(window->compare()->bridge(0).model()->name, std::string("griffin"));
    QCOMPARE(window->compare()->bridge(1).model()->name, std::string("hawk"));
    QCOMPARE(window->compare()->view()->composer()->systemPrompt(), QString("You are a gardener."));
    QTRY_VERIFY_WITH_TIMEOUT(diverges(*window), kPatience);
    // State norms were read again: both strips have something to draw.
    for (int lane = 0; lane < 2; ++lane)
      QTRY_VERIFY_WITH_TIMEOUT(window->compare()->view()->lane(lane)->norms()->maximum() > 0, kPatience);
    // And it goes on from there.
    ask(*window, "Good night.");
    QCOMPARE(words(*window, 0).mid(0, 4), left);
    QCOMPARE(words(*window, 1).size(), 6);
    QCOMPARE(window->compare()->sessionId(), session);
    window->close();
  }

  void emptyingTheLanesStopsThem() {
    auto window = driver_->open();
    window->setLayoutPreset(app::Layout::compare);
    QTRY_VERIFY_WITH_TIMEOUT(window->compare()->hasModels(), kPatience);
    ui::Composer* composer = window->compare()->view()->composer();
    composer->sampling()->setChoice(WindowDriver::choice(100000, 4));
    composer->setText("Once upon a time");
    QTest::keyClick(WindowDriver::find<QPlainTextEdit>(*composer, "composerInput"), Qt::Key_Return);
    QTRY_VERIFY_WITH_TIMEOUT(words(*window, 0).value(1).size() > 3, kPatience);
    WindowDriver::trigger(*window, "newChat");
    QVERIFY(!window->compare()->isWriting());
    QVERIFY(window->compare()->isEmpty());
    QTest::qWait(100);  // what was on its way arrives now, for nobody
    QVERIFY(window->compare()->isEmpty());
    ask(*window, "Hello!");
    QCOMPARE(words(*window, 1).size(), 2);
    window->close();
  }

  void foldersShowTheirCardBeforeTheyAreLoaded() {
    auto window = driver_->open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    // In the window …
    window->openModel(ownModel("my-hawk", "hawk"));
    auto* card = WindowDriver::find<QWidget>(*WindowDriver::find<QWidget>(*window, "chatPage"), "modelCard");
    QTRY_VERIFY_WITH_TIMEOUT(card->isVisible(), kPatience);
    QCOMPARE(window->bridge()->model()->name, std::string("griffin"));
    WindowDriver::click(*card, "modelCardLoad");
    QTRY_COMPARE_WITH_TIMEOUT(window->bridge()->model()->name, std::string("my-hawk"), kPatience);
    // … and in a lane.
    window->setLayoutPreset(app::Layout::compare);
    QTRY_VERIFY_WITH_TIMEOUT(window->compare()->hasModels(), kPatience);
    window->openLaneModel(1, ownModel("my-griffin", "griffin"));
    card = window->compare()->view()->lane(1)->card();
    QTRY_VERIFY_WITH_TIMEOUT(card->isVisible(), kPatience);
    QCOMPARE(window->compare()->bridge(1).model()->name, std::string("hawk"));
    WindowDriver::click(*card, "weights-int8");
    WindowDriver::click(*card, "modelCardLoad");
    QTRY_COMPARE_WITH_TIMEOUT(window->compare()->bridge(1).model()->name, std::string("my-griffin"),
                              kPatience);
    QCOMPARE(window->compare()->bridge(1).model()->summary.dtype, std::string("int8"));
    // What was chosen last is where the next card begins.
    window->openLaneModel(0, ownModel("my-griffin", "griffin"));
    card = window->compare()->view()->lane(0)->card();
    QTRY_VERIFY_WITH_TIMEOUT(card->isVisible(), kPatience);
    QVERIFY(WindowDriver::find<QPushButton>(*card, "weights-int8")->isChecked());
    window->close();
  }

  void builtInModelsNeedNoCard() {
    auto window = driver_->open(0, "mqa");
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    QCOMPARE(window->bridge()->model()->name, std::string("mqa"));
    window->close();
  }
};

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication application(argc, argv);
  GuiCompareTest test;
  return QTest::qExec(&test, argc, argv);
}
#include "gui_compare_test.moc"
