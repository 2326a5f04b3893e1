// A disk that fails in the middle of a conversation: said once, nothing stops, and nothing is missing later.
#include <sys/resource.h>

#include <QLabel>
#include <QSignalSpy>
#include <csignal>

#include "sessions/store/session_store.h"
#include "tests/app/window_driver.h"

using namespace eyrie;
using app::MainWindow;

namespace {

// Files cannot grow beyond `bytes`, as on a full disk.
void limitFiles(rlim_t bytes) {
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

}  // namespace

class GuiSavingTest : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { std::signal(SIGXFSZ, SIG_IGN); }
  void cleanup() { limitFiles(RLIM_INFINITY); }

  void fullDiskIsSaidOnceAndTheChatGoesOn() {
    WindowDriver driver;
    auto window = driver.open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    QSignalSpy problems(window->sessions(), &app::SessionService::problem);
    QSignalSpy recovered(window->sessions(), &app::SessionService::recovered);
    window->chat()->setSampling(WindowDriver::choice(8, 3));
    WindowDriver::write(*window, "Hello!");
    QTRY_VERIFY_WITH_TIMEOUT(window->chat()->sessionId() > 0 && !window->chat()->isWriting(), kPatience);
    QVERIFY(window->sessions()->finish(kPatience));
    const std::int64_t session = window->chat()->sessionId();
    // The disk is full when the first tokens of a reply come.
    const auto filling = connect(window->bridge(), &app::EngineBridge::tokensArrived, this,
                                 [](quint64, const std::vector<engine::TokenRecord>& tokens) {
                                   if (tokens.back().generated) limitFiles(1);
                                 });
    window->chat()->setSampling(WindowDriver::choice(40, 5));
    WindowDriver::click(*window, "modeContinue");
    WindowDriver::write(*window, "Once upon a time");
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!problems.isEmpty(), kPatience);
    disconnect(filling);
    const ui::Turn cut = WindowDriver::leaf(*window);
    QVERIFY(!cut.tokens.empty());
    // A whole exchange in memory alone.
    window->chat()->setSampling(WindowDriver::choice(8, 7));
    WindowDriver::click(*window, "modeChat");
    WindowDriver::write(*window, "And then?");
    QTRY_VERIFY_WITH_TIMEOUT(window->chat()->conversation()->path().size() == 6, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QVERIFY(!WindowDriver::leaf(*window).text.isEmpty());
    QVERIFY(window->sessions()->finish(kPatience));
    QCOMPARE(problems.size(), 1);
    QVERIFY(recovered.isEmpty());
    QVERIFY(WindowDriver::leaf(*window).storeId < 0);
    const auto* notice =
        WindowDriver::find<QLabel>(*WindowDriver::find<QWidget>(*window, "chatPage"), "noticeText");
    QVERIFY2(notice->text().contains("in memory"), qPrintable(notice->text()));
    // Room again: with the next message all of it is stored.
    limitFiles(RLIM_INFINITY);
    WindowDriver::write(*window, "Good night.");
    QTRY_VERIFY_WITH_TIMEOUT(window->chat()->conversation()->path().size() == 8, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QVERIFY(window->sessions()->finish(kPatience));
    QTRY_COMPARE_WITH_TIMEOUT(recovered.size(), 1, kPatience);
    QCOMPARE(problems.size(), 1);
    QCOMPARE(window->chat()->sessionId(), session);
    QStringList shown;
    for (const ui::TurnId id : window->chat()->conversation()->path())
      shown << window->chat()->conversation()->turn(id).text;
    window->close();
    window.reset();
    const auto store = sessions::SessionStore::open(driver.paths().store.toStdString());
    const auto path = store->path(store->session(session).selectedLeaf);
    QStringList stored;
    for (const sessions::Message& message : path) stored << QString::fromStdString(message.text);
    QCOMPARE(stored, shown);
    QCOMPARE(store->tokens(path[3].id).size(), cut.tokens.size());
    QVERIFY(store->check().empty());
  }

  void diskFullFromTheFirstMessageOn() {
    WindowDriver driver;
    auto window = driver.open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    QVERIFY(window->sessions()->finish(kPatience));
    QSignalSpy problems(window->sessions(), &app::SessionService::problem);
    limitFiles(1);
    window->chat()->setSampling(WindowDriver::choice(8, 3));
    for (int turn = 1; turn <= 2; ++turn) {
      WindowDriver::write(*window, "Hello!");
      QTRY_COMPARE_WITH_TIMEOUT(window->chat()->conversation()->path().size(), std::size_t(2 * turn),
                                kPatience);
      QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
      QVERIFY(!WindowDriver::leaf(*window).text.isEmpty());
    }
    QVERIFY(window->sessions()->finish(kPatience));
    QTRY_COMPARE_WITH_TIMEOUT(problems.size(), 1, kPatience);
    limitFiles(RLIM_INFINITY);
    WindowDriver::write(*window, "Are you there?");
    QTRY_VERIFY_WITH_TIMEOUT(window->chat()->sessionId() > 0 && !window->chat()->isWriting(), kPatience);
    for (const ui::TurnId id : window->chat()->conversation()->path())
      QVERIFY(window->chat()->conversation()->turn(id).storeId > 0);
    window->close();
  }
};

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication application(argc, argv);
  GuiSavingTest test;
  return QTest::qExec(&test, argc, argv);
}
#include "gui_saving_test.moc"
