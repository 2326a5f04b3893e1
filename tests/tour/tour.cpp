// Walks the window through every flow on the built-in models and saves numbered pictures. Fails where a view
// is blank. Arguments: light|dark, and the folder for the pictures. The scale comes from QT_SCALE_FACTOR.
#include <QAbstractButton>
#include <QAction>
#include <QApplication>
#include <QDir>
#include <QDockWidget>
#include <QElapsedTimer>
#include <QLineEdit>
#include <QMenu>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QScreen>
#include <QTemporaryDir>
#include <QTest>
#include <QTimer>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <set>

#include "app/gui/main_window.h"
#include "ui/chat/message_body.h"

using namespace eyrie;

namespace {

class Tour {
 public:
  Tour(const QString& look, const QString& folder) : look_(look), folder_(folder) { QDir().mkpath(folder_); }

  bool wait(const char* what, const std::function<bool()>& done, int milliseconds = 60000) {
    QElapsedTimer clock;
    clock.start();
    while (!done() && clock.elapsed() < milliseconds) QTest::qWait(20);
    if (done()) return true;
    fail(QStringLiteral("waited in vain for %1").arg(QLatin1String(what)));
    return false;
  }

  void picture(QWidget* window, const QString& name) {
    QTest::qWait(250);  // let panels settle
    wait("every message to be shown whole", [&] {
      const auto bodies = window->findChildren<ui::MessageBody*>();
      return std::all_of(bodies.begin(), bodies.end(), [](const ui::MessageBody* body) {
        return !body->isVisible() || body->geometry().bottom() < body->parentWidget()->height();
      });
    });
    const QImage image = window->grab().toImage();
    const QString file = QStringLiteral("%1/%2-%3-%4x-%5.png")
                             .arg(folder_)
                             .arg(++number_, 2, 10, QLatin1Char('0'))
                             .arg(look_)
                             .arg(window->devicePixelRatioF())
                             .arg(name);
    if (!image.save(file)) fail(QStringLiteral("%1 could not be written").arg(file));
  }

  // A view is blank when nearly all of it has one colour or nothing varies in brightness.
  void mustShowSomething(QWidget* view, const QString& name) {
    if (!view || !view->isVisible()) return fail(QStringLiteral("%1 is not there").arg(name));
    const QImage image = view->grab().toImage().convertToFormat(QImage::Format_RGB32);
    std::set<QRgb> colours;
    double sum = 0;
    double squares = 0;
    std::int64_t count = 0;
    for (int y = 0; y < image.height(); y += 2) {
      for (int x = 0; x < image.width(); x += 2) {
        const QRgb pixel = image.pixel(x, y);
        if (colours.size() < 64) colours.insert(pixel);
        sum += qGray(pixel);
        squares += double(qGray(pixel)) * qGray(pixel);
        ++count;
      }
    }
    const double mean = sum / double(std::max<std::int64_t>(1, count));
    const double variance = squares / double(std::max<std::int64_t>(1, count)) - mean * mean;
    if (colours.size() < 8 || variance < 4) {
      fail(
          QStringLiteral("%1 is blank: %2 colours, variance %3").arg(name).arg(colours.size()).arg(variance));
    }
  }

  void fail(const QString& text) {
    ++failures_;
    std::fprintf(stderr, "FAIL %s\n", qPrintable(text));
  }
  int failures() const { return failures_; }

 private:
  QString look_;
  QString folder_;
  int number_ = 0;
  int failures_ = 0;
};

template <typename T>
T* find(QWidget* parent, const char* name) {
  return parent->findChild<T*>(QString::fromLatin1(name));
}

void press(QWidget* window, const char* name) {
  if (auto* button = find<QAbstractButton>(window, name)) button->click();
}

void write(QWidget* parent, const QString& text) {
  auto* input = find<QPlainTextEdit>(parent, "composerInput");
  input->setPlainText(text);
  QTest::keyClick(input, Qt::Key_Return);
}

void chatFlow(Tour& tour, app::MainWindow& window) {
  tour.picture(&window, "empty");
  ui::SamplingChoice choice;
  choice.maxTokens = 60;
  choice.seedFixed = true;
  choice.options.seed = 3;
  find<ui::Composer>(&window, "composer")->sampling()->setChoice(choice);
  window.chat()->setSampling(choice);
  write(find<QWidget>(&window, "chatPage"), "Hello! What do you like to do on a rainy day?");
  tour.wait("a reply", [&] { return window.chat()->sessionId() != 0 && !window.chat()->isWriting(); });
  write(find<QWidget>(&window, "chatPage"), "And when the sun shines?");
  tour.wait("a second reply",
            [&] { return window.chat()->conversation()->path().size() == 4 && !window.chat()->isWriting(); });
  tour.mustShowSomething(find<QWidget>(find<QWidget>(&window, "chatPage"), "chatView"), "chat");
  tour.mustShowSomething(find<QWidget>(&window, "normsStrip"), "norms strip");
  tour.mustShowSomething(find<QWidget>(&window, "sessionsPanel"), "sessions");
  tour.picture(&window, "chat");
  press(&window, "samplingButton");
  QTest::qWait(100);
  if (auto* panel = find<QWidget>(&window, "samplingPanel")) {
    tour.mustShowSomething(panel, "sampling");
    tour.picture(panel, "sampling");
    panel->hide();
  }
}

void inspectFlow(Tour& tour, app::MainWindow& window) {
  press(&window, "inspectLayout");
  QTest::qWait(400);
  const ui::Turn& reply = window.chat()->conversation()->turn(window.chat()->conversation()->leaf());
  window.selection()->selectToken(reply.firstPosition + std::int64_t(reply.tokens.size()) / 2);
  tour.mustShowSomething(find<QDockWidget>(&window, "inspectorDock"), "inspector");
  tour.mustShowSomething(find<QDockWidget>(&window, "timelineDock"), "timeline");
  tour.picture(&window, "inspect");
  ui::MessageBody* last = window.findChildren<ui::MessageBody*>().last();
  const QRect token = last->tokenRect(5);
  // To the widget itself: a moved pointer would come back through the X server at its own time.
  QMouseEvent move(QEvent::MouseMove, token.center(), last->viewport()->mapToGlobal(token.center()),
                   Qt::NoButton, Qt::NoButton, Qt::NoModifier);
  QCoreApplication::sendEvent(last->viewport(), &move);
  tour.wait("the alternatives", [&] {
    const auto* popover = find<QWidget>(&window, "tokenPopover");
    return popover && popover->isVisible();
  });
  tour.picture(&window, "alternatives");
}

void readFlow(Tour& tour, app::MainWindow& window) {
  find<QAction>(&window, "newChat")->trigger();
  press(&window, "modeRead");
  write(
      find<QWidget>(&window, "chatPage"),
      "Once upon a time there was a little girl called Rose who lived with her grandmother in a small house "
      "by "
      "the sea. Every morning she went down to the beach to look for shells, and every evening she told her "
      "grandmother what she had found. One day she saw a strange green bottle in the sand. There was a "
      "letter in "
      "it. \"Who could have written it?\" said Rose, and she ran home as fast as she could.");
  tour.wait("the reading", [&] { return window.chat()->sessionId() != 0 && !window.chat()->isWriting(); });
  QTest::qWait(300);
  tour.mustShowSomething(find<QDockWidget>(&window, "inspectorDock"), "inspector after reading");
  tour.picture(&window, "read");
}

void compareFlow(Tour& tour, app::MainWindow& window) {
  press(&window, "compareLayout");
  if (!tour.wait("two models", [&] { return window.compare()->hasModels(); })) return;
  tour.picture(&window, "compare-empty");
  ui::SamplingChoice choice;
  choice.maxTokens = 48;
  choice.seedFixed = true;
  choice.options.seed = 3;
  window.compare()->view()->composer()->sampling()->setChoice(choice);
  write(window.compare()->view()->composer(), "Tell me about the sea.");
  tour.wait("both answers", [&] { return !window.compare()->isWriting(); });
  ui::DivergenceRow* row = window.compare()->view()->divergence();
  row->setFocus();
  tour.wait("the divergence", [&] {
    QTest::keyClick(row, Qt::Key_Right);
    return row->readout().contains("KL");
  });
  for (const char* name : {"laneANorms", "laneBNorms", "divergenceRow"}) {
    tour.mustShowSomething(find<QWidget>(&window, name), QString::fromLatin1(name));
  }
  tour.picture(&window, "compare");
}

// Everything that opens: menus, dialogs, banners, overlays.
void menusFlow(Tour& tour, app::MainWindow& window) {
  const auto show = [&](QMenu* menu, const QString& name) {
    menu->popup(window.mapToGlobal(QPoint(200, 80)));
    if (tour.wait("a menu", [&] { return menu->isVisible(); })) tour.picture(menu, name);
    menu->close();
  };
  for (const char* button : {"modelButton", "traceButton", "exportButton", "menuButton"}) {
    auto* menu = find<QMenu>(&window, (QByteArray(button) + "Menu").constData());
    show(menu, QStringLiteral("menu-%1").arg(QLatin1String(button)));
    if (QLatin1String(button) == QLatin1String("modelButton")) continue;
    for (QMenu* below : menu->findChildren<QMenu*>(Qt::FindDirectChildrenOnly))
      show(below, QStringLiteral("menu-%1").arg(
                      below->title().toLower().replace(QLatin1Char(' '), QLatin1Char('-'))));
  }
}

void dialogsFlow(Tour& tour, app::MainWindow& window) {
  for (const char* command : {"settings", "exportTrace", "shortcuts"}) {
    bool seen = false;
    QTimer timer;
    QObject::connect(&timer, &QTimer::timeout, &window, [&] {
      auto* dialog = qobject_cast<QDialog*>(QApplication::activeModalWidget());
      if (!dialog || !dialog->isVisible() || seen) return;
      seen = true;
      tour.mustShowSomething(dialog, QLatin1String(command));
      tour.picture(dialog, QStringLiteral("dialog-%1").arg(QLatin1String(command)));
      dialog->reject();
    });
    timer.start(30);
    find<QAction>(&window, command)->trigger();
    if (!seen) tour.fail(QStringLiteral("%1 opened nothing").arg(QLatin1String(command)));
  }
}

void cornersFlow(Tour& tour, app::MainWindow& window) {
  find<QAction>(&window, "layoutChat")->trigger();
  find<QAction>(&window, "find")->trigger();
  find<QLineEdit>(find<QWidget>(&window, "chatPage"), "findInput")->setText("the");
  tour.picture(&window, "find");
  find<QAbstractButton>(&window, "findClose")->click();
  find<QAction>(&window, "newChat")->trigger();
  auto* card = find<QWidget>(find<QWidget>(&window, "chatPage"), "modelCard");
  window.openModel(QStringLiteral(EYRIE_SOURCE_DIR "/assets/models/hawk"));
  if (tour.wait("the model's card", [&] { return card->isVisible(); })) tour.picture(&window, "model-card");
  window.openModel(QStringLiteral("/no/such/model"));
  auto* notice = find<QWidget>(find<QWidget>(&window, "chatPage"), "noticeText");
  if (tour.wait("the error", [&] { return notice->isVisible(); })) tour.picture(&window, "error");
  press(find<QWidget>(&window, "chatPage"), "noticeClose");
  auto* overlay = find<ui::DropOverlay>(&window, "dropOverlay");
  overlay->showText(QStringLiteral("Drop to open this model"));
  tour.picture(&window, "drop");
  overlay->hide();
}

void rereadFlow(Tour& tour, app::MainWindow& window) {
  const auto session = window.chat()->sessionId();
  window.chat()->newSession();
  window.chat()->openSession(session);
  find<QAction>(&window, "layoutInspect")->trigger();
  auto* button = find<QAbstractButton>(&window, "rereadButton");
  if (!tour.wait("the offer to read again", [&] { return button->isVisible(); })) return;
  tour.picture(&window, "not-recorded");
  button->click();
  tour.wait("the second reading",
            [&] { return find<ui::RereadHint>(&window, "rereadHint")->missing() == 0; });
  QTest::qWait(200);
  tour.mustShowSomething(find<QDockWidget>(&window, "inspectorDock"), "inspector after a second reading");
  tour.picture(&window, "read-again");
}

void exportFlow(Tour& tour, app::MainWindow& window, const QString& profile) {
  press(&window, "inspectLayout");
  bool written = false;
  QObject::connect(&window, &app::MainWindow::exported, &window, [&] { written = true; });
  window.exportTrace(profile + "/trace.npz");
  tour.wait("the export", [&] { return written; });
  tour.picture(&window, "export");
}

}  // namespace

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication application(argc, argv);
  if (argc < 3) {
    std::fprintf(stderr, "usage: tour light|dark FOLDER\n");
    return 2;
  }
  QCursor::setPos(QGuiApplication::primaryScreen()->geometry().bottomRight());  // hovers over nothing
  const QTemporaryDir profile;
  const QString look = QString::fromLocal8Bit(argv[1]);
  ui::ThemeController theme(application,
                            look == QLatin1String("dark") ? ui::ThemeMode::dark : ui::ThemeMode::light);
  Tour tour(look, QString::fromLocal8Bit(argv[2]));
  {
    app::MainWindow window(app::AppPaths::of(profile.path()), &theme);
    window.resize(1280, 800);
    window.show();
    window.begin({}, 0);
    if (tour.wait("the model", [&] { return window.bridge()->model() != nullptr; })) {
      chatFlow(tour, window);
      inspectFlow(tour, window);
      readFlow(tour, window);
      compareFlow(tour, window);
      exportFlow(tour, window, profile.path());
      dialogsFlow(tour, window);
      rereadFlow(tour, window);
      menusFlow(tour, window);
      cornersFlow(tour, window);
    }
    window.close();
  }
  return tour.failures() == 0 ? 0 : 1;
}
