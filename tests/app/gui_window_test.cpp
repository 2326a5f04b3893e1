// The real window, driven through its four flows on the built-in models.
#include <QAbstractButton>
#include <QAction>
#include <QLabel>
#include <QListView>
#include <QMouseEvent>
#include <QPlainTextEdit>
#include <QScreen>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>

#include "app/gui/main_window.h"

using namespace eyrie;
using app::MainWindow;

namespace {

constexpr int kPatience = 60000;  // ms: only a failure takes so long, whatever else the machine does

}  // namespace

class GuiWindowTest : public QObject {
  Q_OBJECT

 private:
  std::unique_ptr<MainWindow> open(std::int64_t session = 0, const QString& model = {}) {
    auto window = std::make_unique<MainWindow>(app::AppPaths::of(profile_.path()), theme_.get());
    window->show();
    window->begin(model, session);
    return window;
  }
  template <typename T>
  static T* find(MainWindow& window, const char* name) {
    T* found = window.findChild<T*>(QString::fromLatin1(name));
    Q_ASSERT_X(found, "find", name);
    return found;
  }
  static void write(MainWindow& window, const char* input, const QString& text) {
    auto* edit = find<QWidget>(window, "chatPage")->findChild<QPlainTextEdit*>(QString::fromLatin1(input));
    edit->setPlainText(text);
    QTest::keyClick(edit, Qt::Key_Return);
  }
  static void choose(MainWindow& window, int maxTokens, std::uint64_t seed) {
    ui::SamplingChoice choice;
    choice.maxTokens = maxTokens;
    choice.seedFixed = true;
    choice.options.seed = seed;
    window.chat()->setSampling(choice);
  }
  static const ui::Turn& leaf(MainWindow& window) {
    const ui::Conversation* conversation = window.chat()->conversation();
    return conversation->turn(conversation->leaf());
  }

  QTemporaryDir profile_;
  std::unique_ptr<ui::ThemeController> theme_;

 private slots:
  void initTestCase() {
    QVERIFY(profile_.isValid());
    theme_ = std::make_unique<ui::ThemeController>(*qApp, ui::ThemeMode::light);
    // The server's pointer hovers over whatever is shown under it: out of the way.
    QCursor::setPos(QGuiApplication::primaryScreen()->geometry().bottomRight());
  }

  void opensAndChats() {
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    QCOMPARE(window->bridge()->model()->name, std::string("griffin"));
    choose(*window, 24, 3);
    write(*window, "composerInput", "Hello, how are you?");
    QTRY_COMPARE_WITH_TIMEOUT(window->chat()->conversation()->path().size(), std::size_t(2), kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    const ui::Turn reply = leaf(*window);
    QVERIFY(!reply.text.isEmpty());
    QVERIFY(!reply.tokens.empty());
    QCOMPARE(reply.seed, std::uint64_t(3));
    QVERIFY(reply.storeId > 0);
    // The question was scored as well, so that its tokens can be inspected.
    const ui::Turn& question = window->chat()->conversation()->turn(reply.parent);
    QVERIFY(!question.tokens.empty());
    // Every token of the prompt and of the reply is in the trace, with its frame.
    const engine::Trace& trace = window->bridge()->run()->trace;
    QTRY_COMPARE_WITH_TIMEOUT(trace.size(), reply.firstPosition + std::int64_t(reply.tokens.size()),
                              kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(trace.hasFrame(trace.size() - 1), kPatience);
    // The same seed writes the same words, beside the first.
    find<QAction>(*window, "regenerateLast")->trigger();
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QCOMPARE(leaf(*window).text, reply.text);
    QCOMPARE(window->chat()->conversation()->siblings(leaf(*window).id).size(), std::size_t(2));
    find<QAction>(*window, "previousSibling")->trigger();
    QCOMPARE(leaf(*window).id, reply.id);
    // A second question goes on from there.
    write(*window, "composerInput", "And you?");
    QTRY_COMPARE_WITH_TIMEOUT(window->chat()->conversation()->path().size(), std::size_t(4), kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    // Editing the first question keeps the old one as its sibling.
    const ui::TurnId first = window->chat()->conversation()->path().front();
    window->chat()->edit(first, "Good morning!");
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QCOMPARE(window->chat()->conversation()->siblings(first).size(), std::size_t(2));
    QCOMPARE(window->chat()->conversation()->path().size(), std::size_t(2));
    window->close();
  }

  void stopsWithinAMoment() {
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    choose(*window, 100000, 5);
    find<QAbstractButton>(*window, "modeContinue")->click();
    write(*window, "composerInput", "Once upon a time");
    QTRY_VERIFY_WITH_TIMEOUT(leaf(*window).tokens.size() > 4, kPatience);
    find<QAction>(*window, "stop")->trigger();
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QVERIFY(leaf(*window).status == ui::TurnStatus::cancelled ||
            leaf(*window).status == ui::TurnStatus::done);
    window->close();
  }

  void readsWithoutWriting() {
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    find<QAbstractButton>(*window, "modeRead")->click();
    write(*window, "composerInput", QString("The fox went over the hill. ").repeated(10));
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QCOMPARE(window->chat()->conversation()->path().size(), std::size_t(1));
    const ui::Turn& text = leaf(*window);
    QVERIFY(text.tokens.size() > 20);
    QVERIFY2(std::isfinite(text.tokens[5].logprob), "read tokens are scored");
    QVERIFY(text.tokens[5].topTokens[0] >= 0);
    QTRY_VERIFY_WITH_TIMEOUT(
        window->bridge()->run()->trace.hasFrame(window->bridge()->run()->trace.size() - 1), kPatience);
    window->close();
  }

  void reopensWithoutReadingAgain() {
    std::int64_t session = 0;
    QString words;
    {
      auto window = open();
      QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
      choose(*window, 16, 9);
      write(*window, "composerInput", "What is your favourite animal?");
      QTRY_VERIFY_WITH_TIMEOUT(window->chat()->sessionId() > 0, kPatience);
      QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
      session = window->chat()->sessionId();
      words = leaf(*window).text;
      window->close();
    }
    auto window = open(session);
    QTRY_COMPARE_WITH_TIMEOUT(window->chat()->conversation()->path().size(), std::size_t(2), kPatience);
    QCOMPARE(leaf(*window).text, words);
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->run()->trace.size() > 10, kPatience);
    const std::int64_t before = window->chat()->prompt(false).tokens.size();
    QSignalSpy finished(window->bridge(), &app::EngineBridge::finished);
    write(*window, "composerInput", "Why?");
    QTRY_VERIFY_WITH_TIMEOUT(!finished.isEmpty(), kPatience);
    const auto event = finished.first().at(1).value<engine::EngineEvent>();
    QVERIFY2(
        event.result.contextTokens < before,
        qPrintable(QStringLiteral("read %1 tokens again of %2").arg(event.result.contextTokens).arg(before)));
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    window->close();
  }

  // The last messages' states are kept as well as the leaf's.
  void editingTheLastMessageAfterReopeningReadsNothingBefore() {
    std::int64_t session = 0;
    {
      auto window = open();
      QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
      choose(*window, 16, 9);
      for (const char* question : {"What is your favourite animal?", "Why?"}) {
        write(*window, "composerInput", question);
        QTRY_VERIFY_WITH_TIMEOUT(window->chat()->sessionId() > 0, kPatience);
        QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
      }
      session = window->chat()->sessionId();
      window->close();
    }
    auto window = open(session);
    QTRY_COMPARE_WITH_TIMEOUT(window->chat()->conversation()->path().size(), std::size_t(4), kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    QSignalSpy finished(window->bridge(), &app::EngineBridge::finished);
    window->chat()->edit(window->chat()->conversation()->path()[2], "Where does it live?");
    QTRY_VERIFY_WITH_TIMEOUT(!finished.isEmpty(), kPatience);
    const auto event = finished.first().at(1).value<engine::EngineEvent>();
    const ui::Turn& reply = window->chat()->conversation()->turn(window->chat()->conversation()->path()[1]);
    const std::int64_t before = reply.firstPosition + std::int64_t(reply.tokens.size());
    const std::int64_t all = leaf(*window).firstPosition;
    QVERIFY2(
        before > 20 && event.result.contextTokens <= all - before + 1,
        qPrintable(QStringLiteral("read %1 tokens of %2, of which %3 were read before the edited message")
                       .arg(event.result.contextTokens)
                       .arg(all)
                       .arg(before)));
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    window->close();
  }

  void failedLoadKeepsTheOldModel() {
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    window->openModel(profile_.path());  // a folder without a model
    auto* notice = find<QWidget>(*window, "chatPage")->findChild<QLabel*>("noticeText");
    QTRY_VERIFY_WITH_TIMEOUT(notice->isVisible() && notice->text().contains(profile_.path()), kPatience);
    QCOMPARE(window->bridge()->model()->name, std::string("griffin"));
    window->close();
  }

  void comparesGriffinWithHawk() {
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, 30000);
    find<QAbstractButton>(*window, "compareLayout")->click();
    QTRY_VERIFY_WITH_TIMEOUT(window->compare()->hasModels(), 60000);
    ui::Composer* composer = window->compare()->view()->composer();
    ui::SamplingChoice choice;
    choice.maxTokens = 16;
    choice.seedFixed = true;
    choice.options.seed = 4;
    composer->sampling()->setChoice(choice);
    composer->setText("Hello! What do you like?");
    QTest::keyClick(composer->findChild<QPlainTextEdit*>("composerInput"), Qt::Key_Return);
    QVERIFY(window->compare()->isWriting());
    QTRY_VERIFY_WITH_TIMEOUT(!window->compare()->isWriting(), 90000);
    ui::DivergenceRow* row = window->compare()->view()->divergence();
    // The event goes to the row itself: a moved pointer would come back through the X server at its own time.
    const auto point = [row] {
      QMouseEvent move(QEvent::MouseMove, QPointF(122, 60), row->mapToGlobal(QPointF(122, 60)), Qt::NoButton,
                       Qt::NoButton, Qt::NoModifier);
      QCoreApplication::sendEvent(row, &move);
      return row->readout();
    };
    QTRY_VERIFY_WITH_TIMEOUT(point().contains("KL"), 30000);
    QVERIFY2(row->readout().contains("griffin") && row->readout().contains("hawk"),
             qPrintable(row->readout()));
    window->close();
  }

  void exportsTheTrace_data() {
    QTest::addColumn<QString>("ending");
    for (const char* ending : {"npz", "safetensors", "csv", "jsonl"})
      QTest::newRow(ending) << QString::fromLatin1(ending);
  }
  void exportsTheTrace() {
    QFETCH(QString, ending);
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    choose(*window, 8, 2);
    write(*window, "composerInput", "Hello!");
    QTRY_VERIFY_WITH_TIMEOUT(window->chat()->sessionId() > 0 && !window->chat()->isWriting(), kPatience);
    const QString file = profile_.filePath("trace." + ending);
    QSignalSpy exported(window.get(), &MainWindow::exported);
    window->exportTrace(file);
    QTRY_COMPARE_WITH_TIMEOUT(exported.size(), 1, kPatience);
    QVERIFY(QFileInfo(file).size() > 100);
    QVERIFY(QFileInfo::exists(profile_.filePath("open_trace.py")));
    window->close();
  }

  void everyControlHasAnAccessibleName() {
    auto window = open();
    for (const QAbstractButton* button : window->findChildren<QAbstractButton*>()) {
      if (button->isHidden() || button->objectName().startsWith(QLatin1String("qt_"))) continue;
      const bool named =
          !button->text().isEmpty() || !button->accessibleName().isEmpty() || !button->toolTip().isEmpty();
      QVERIFY2(named, qPrintable(button->objectName() + " of " + button->parent()->objectName()));
    }
    window->close();
  }

  void closesWithinASecondWhileWriting() {
    auto window = open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    choose(*window, 100000, 5);
    find<QAbstractButton>(*window, "modeContinue")->click();
    write(*window, "composerInput", "Once upon a time");
    QTRY_VERIFY_WITH_TIMEOUT(leaf(*window).tokens.size() > 4, kPatience);
    QElapsedTimer clock;
    clock.start();
    window->close();
    window.reset();
    QVERIFY2(clock.elapsed() < 5000, qPrintable(QString::number(clock.elapsed())));
  }
};

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication application(argc, argv);
  GuiWindowTest test;
  return QTest::qExec(&test, argc, argv);
}
#include "gui_window_test.moc"
