// Finding words, settings, and how the program comes and goes.
#include <QCheckBox>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QLineEdit>
#include <QProcess>
#include <csignal>

#include "tests/app/window_driver.h"
#include "ui/chat/chat_search.h"
#include "ui/widgets/settings_dialog.h"

using namespace eyrie;
using app::MainWindow;

class GuiComfortTest : public QObject {
  Q_OBJECT

 private:
  static QImage drawn(const QIcon& icon) { return icon.pixmap(QSize(16, 16)).toImage(); }
  static ui::Turn turnOf(ui::TurnId parent, engine::Role role, const QString& text) {
    ui::Turn turn;
    turn.parent = parent;
    turn.role = role;
    turn.text = text;
    return turn;
  }

 private slots:
  void findsWordsInTheConversation() {
    WindowDriver driver;
    auto window = driver.open();
    ui::Conversation* conversation = window->chat()->conversation();
    ui::TurnId last = conversation->add(turnOf(0, engine::Role::user, "A fox and a lantern"));
    last = conversation->add(
        turnOf(last, engine::Role::model, QString("Nothing here.\n\n").repeated(60) + "The **Fox** slept."));
    last = conversation->add(turnOf(last, engine::Role::user, "Where is the fox?"));
    WindowDriver::trigger(*window, "find");
    const auto* page = WindowDriver::find<QWidget>(*window, "chatPage");
    auto* bar = WindowDriver::find<ui::ChatSearch>(*page, "findBar");
    auto* input = WindowDriver::find<QLineEdit>(*bar, "findInput");
    const auto* count = WindowDriver::find<QLabel>(*bar, "findCount");
    QVERIFY(bar->isVisible());
    QTest::keyClicks(input, "fox");
    QCOMPARE(bar->count(), 3);
    const int first = bar->current();
    WindowDriver::trigger(*window, "findNext");
    QCOMPARE(bar->current(), (first + 1) % 3);
    QTest::keyClick(input, Qt::Key_Return, Qt::ShiftModifier);
    QCOMPARE(bar->current(), first);
    // The second stands far below the first: going there scrolls.
    while (bar->current() != 0) WindowDriver::trigger(*window, "findNext");
    auto* view = WindowDriver::find<ui::ChatView>(*page, "chatView");
    const auto seen = [view](int message, int match) {
      const ui::MessageBody* body = view->messages()[std::size_t(message)]->body();
      return view->viewport()->rect().contains(
          body->mapTo(view->viewport(), body->matchRect(match).center()));
    };
    QTRY_VERIFY_WITH_TIMEOUT(seen(0, 0), kPatience);
    WindowDriver::trigger(*window, "findNext");
    QTRY_VERIFY_WITH_TIMEOUT(seen(1, 0), kPatience);
    QCOMPARE(count->text(), QString("2 of 3"));
    // Words that are added are found as well; words that are not there are said not to be.
    conversation->add(turnOf(last, engine::Role::user, "Foxes, foxes"));
    QTRY_COMPARE_WITH_TIMEOUT(bar->count(), 5, kPatience);
    input->setText("badger");
    QCOMPARE(count->text(), QString("not found"));
    input->setText("fox");
    QTest::keyClick(input, Qt::Key_Escape);
    QVERIFY(!bar->isVisible());
    for (const ui::MessageWidget* message : view->messages()) QCOMPARE(message->body()->matchCount(), 0);
    window->close();
  }

  void settingsHoldAtOnceAndStay() {
    WindowDriver driver;
    auto window = driver.open();
    bool seen = false;
    WindowDriver::whenOpened("settingsDialog", [&](QDialog* dialog) {
      WindowDriver::click(*dialog, "themeDark");
      QVERIFY(ui::Theme::current().dark);
      WindowDriver::find<QDoubleSpinBox>(*dialog, "proseSize")->setValue(18);
      QCOMPARE(ui::textSize(ui::TextRole::prose), 18.0);
      WindowDriver::find<QDoubleSpinBox>(*dialog, "temperature")->setValue(0.3);
      QCOMPARE(WindowDriver::find<QLabel>(*dialog, "dataFolder")->text(), driver.paths().data);
      seen = true;
      dialog->accept();
    });
    WindowDriver::trigger(*window, "settings");
    QVERIFY(seen);
    const auto* input =
        WindowDriver::find<QWidget>(*WindowDriver::find<QWidget>(*window, "chatPage"), "composerInput");
    QTRY_COMPARE_WITH_TIMEOUT(input->font().pointSizeF(), 18 * 0.75, kPatience);
    auto* composer = WindowDriver::find<ui::Composer>(*window, "composer");
    QVERIFY(std::abs(composer->sampling()->choice().options.temperature - 0.3F) < 1e-5F);
    // A change for this conversation alone is no new default.
    WindowDriver::find<QDoubleSpinBox>(*composer, "temperature")->setValue(1.4);
    WindowDriver::trigger(*window, "newChat");
    QVERIFY(std::abs(composer->sampling()->choice().options.temperature - 0.3F) < 1e-5F);
    window->close();
    window.reset();
    const app::Settings settings(driver.paths().settings);
    QCOMPARE(settings.theme(), ui::ThemeMode::dark);
    QCOMPARE(settings.proseSize(), 18.0);
    QVERIFY(std::abs(settings.sampling().options.temperature - 0.3F) < 1e-5F);
    driver.theme().setProseSize(ui::kProseSize);
    driver.theme().setMode(ui::ThemeMode::light);
  }

  void iconsFollowTheTheme() {
    WindowDriver driver;
    const QIcon icon = ui::themeIcon("menu");
    const QImage light = drawn(icon);
    driver.theme().setMode(ui::ThemeMode::dark);
    const QImage dark = drawn(icon);
    driver.theme().setMode(ui::ThemeMode::light);
    QVERIFY(!light.isNull() && light != dark);
    QVERIFY(!ui::applicationIcon().isNull());
    // A warning in words is no box.
    QLabel words("tight");
    words.setProperty("role", "warning");
    words.ensurePolished();
    QCOMPARE(words.sizeHint(), QLabel("tight").sizeHint());
  }

  void terminatedProgramIsGoneWithinASecond() {
    const WindowDriver driver;
    QProcess program;
    program.start(QStringLiteral(EYRIE_BINARY_DIR "/bin/eyrie"), {"--profile", driver.file("program")});
    QVERIFY(program.waitForStarted(kPatience));
    const auto loaded = [&] {
      QFile log(driver.file("program/eyrie.log"));
      return log.open(QIODevice::ReadOnly) && log.readAll().contains("loaded griffin");
    };
    QTRY_VERIFY_WITH_TIMEOUT(loaded(), kPatience);
    QElapsedTimer clock;
    clock.start();
    ::kill(pid_t(program.processId()), SIGTERM);
    QVERIFY(program.waitForFinished(kPatience));
    qInfo("%lld ms", clock.elapsed());
    QCOMPARE(program.exitStatus(), QProcess::NormalExit);
    QCOMPARE(program.exitCode(), 0);
    QVERIFY2(clock.elapsed() < 3000, qPrintable(QString::number(clock.elapsed())));
  }
};

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication application(argc, argv);
  GuiComfortTest test;
  return QTest::qExec(&test, argc, argv);
}
#include "gui_comfort_test.moc"
