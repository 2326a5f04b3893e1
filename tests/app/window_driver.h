// Drives the real window in tests: a profile of its own, controls by their names, no pointer in the way.
#pragma once

#include <QAbstractButton>
#include <QAction>
#include <QDialog>
#include <QPlainTextEdit>
#include <QScreen>
#include <QTemporaryDir>
#include <QTimer>
#include <QtTest>

#include "app/gui/main_window.h"

inline constexpr int kPatience = 60000;  // ms: only a failure takes so long, whatever else the machine does

class WindowDriver {
 public:
  WindowDriver() : theme_(*qApp, eyrie::ui::ThemeMode::light) {
    // The server's pointer hovers over whatever is shown under it.
    QCursor::setPos(QGuiApplication::primaryScreen()->geometry().bottomRight());
  }

  std::unique_ptr<eyrie::app::MainWindow> open(std::int64_t session = 0, const QString& model = {}) {
    auto window = std::make_unique<eyrie::app::MainWindow>(paths(), &theme_);
    window->show();
    window->begin(model, session);
    return window;
  }
  eyrie::app::AppPaths paths() const { return eyrie::app::AppPaths::of(profile_.path()); }
  QString file(const QString& name) const { return profile_.filePath(name); }
  eyrie::ui::ThemeController& theme() { return theme_; }

  template <typename T>
  static T* find(const QWidget& parent, const char* name) {
    T* found = parent.findChild<T*>(QString::fromLatin1(name));
    Q_ASSERT_X(found, "find", name);
    return found;
  }
  static void trigger(const QWidget& window, const char* action) { find<QAction>(window, action)->trigger(); }
  static void click(const QWidget& parent, const char* button) {
    find<QAbstractButton>(parent, button)->click();
  }
  static void write(const eyrie::app::MainWindow& window, const QString& text) {
    auto* edit = find<QPlainTextEdit>(*find<QWidget>(window, "chatPage"), "composerInput");
    edit->setPlainText(text);
    QTest::keyClick(edit, Qt::Key_Return);
  }
  static eyrie::ui::SamplingChoice choice(int maxTokens, std::uint64_t seed) {
    eyrie::ui::SamplingChoice choice;
    choice.maxTokens = maxTokens;
    choice.seedFixed = true;
    choice.options.seed = seed;
    return choice;
  }
  static const eyrie::ui::Turn& leaf(eyrie::app::MainWindow& window) {
    const eyrie::ui::Conversation* conversation = window.chat()->conversation();
    return conversation->turn(conversation->leaf());
  }
  // Runs `act` on the dialog of that name once it is there; what opens it comes next and blocks until then.
  template <typename Act>
  static void whenOpened(const char* dialog, Act act) {
    auto* timer = new QTimer(qApp);
    QObject::connect(timer, &QTimer::timeout, qApp, [=] {
      auto* open = qobject_cast<QDialog*>(QApplication::activeModalWidget());
      if (!open || open->objectName() != QLatin1String(dialog)) return;
      timer->deleteLater();
      timer->stop();
      act(open);
    });
    timer->start(20);
  }

 private:
  QTemporaryDir profile_;
  eyrie::ui::ThemeController theme_;
};
