// Layout presets: which docks are there and how large, each remembered on its own.
#include <QDockWidget>
#include <QStackedWidget>
#include <QTimer>

#include "app/gui/main_window.h"
#include "ui/theme/theme.h"

namespace eyrie::app {

namespace {

constexpr int kStateVersion = 2;  // of saveState: an older arrangement is dropped for the default one

QString nameOf(Layout layout) {
  const char* names[] = {"chat", "inspect", "compare"};
  return QString::fromLatin1(names[int(layout)]);
}

}  // namespace

void MainWindow::saveLayout() {
  settings_.setLayoutState(nameOf(layout_), saveState(kStateVersion));
}

void MainWindow::setLayoutPreset(Layout layout) {
  if (layout == layout_) return;
  saveLayout();
  if (layout_ == Layout::inspect) inspectorDock_->setProperty("wantedWidth", inspectorDock_->width());
  layout_ = layout;
  applyLayout();
}

void MainWindow::applyLayout() {
  layouts_->setCurrent(int(layout_));
  pages_->setCurrentIndex(layout_ == Layout::compare ? 1 : 0);
  // A hidden page must not keep the shown one from being narrow.
  for (int i = 0; i < pages_->count(); ++i) {
    const auto policy = i == pages_->currentIndex() ? QSizePolicy::Preferred : QSizePolicy::Ignored;
    pages_->widget(i)->setSizePolicy(policy, policy);
  }
  chatView_->setTokenView(layout_ == Layout::inspect);
  chatView_->setColumnWidth(layout_ == Layout::inspect ? 560 : 720);
  strip_->setVisible(layout_ == Layout::chat);
  if (!restoreState(settings_.layoutState(nameOf(layout_)), kStateVersion)) defaultLayout(layout_);
  // Restored while other docks were there, widths come out wrong: set them once the new ones stand.
  const int wanted = inspectorDock_->property("wantedWidth").toInt();
  if (layout_ == Layout::inspect && wanted > 0) {
    QTimer::singleShot(0, this, [this, wanted] {
      resizeDocks({sessionsDock_, inspectorDock_}, {ui::metrics::kSessionsWidth, wanted}, Qt::Horizontal);
    });
  }
  const bool compares = layout_ == Layout::compare;
  sessionsPanel_->setCurrentSession(compares ? compare_->sessionId() : chat_->sessionId());
  if (!compares) return composer_->focusInput();
  ui::Composer* composer = compare_->view()->composer();
  // What was asked of one model is asked of both, until it is changed here.
  if (compare_->isEmpty() && composer->systemPrompt().isEmpty())
    composer->setSystemPrompt(composer_->systemPrompt());
  compare_->activate();
  composer->focusInput();
}

void MainWindow::defaultLayout(Layout layout) {
  for (QDockWidget* dock : {sessionsDock_, inspectorDock_, timelineDock_}) dock->setFloating(false);
  addDockWidget(Qt::LeftDockWidgetArea, sessionsDock_);
  addDockWidget(Qt::RightDockWidgetArea, inspectorDock_);
  addDockWidget(Qt::BottomDockWidgetArea, timelineDock_);
  sessionsDock_->setVisible(true);
  inspectorDock_->setVisible(layout == Layout::inspect);
  timelineDock_->setVisible(layout == Layout::inspect);
  resizeDocks({sessionsDock_}, {ui::metrics::kSessionsWidth}, Qt::Horizontal);
  if (layout != Layout::inspect) return;
  const int rest = width() - ui::metrics::kSessionsWidth - ui::metrics::kConversationWidth;
  resizeDocks({sessionsDock_, inspectorDock_}, {ui::metrics::kSessionsWidth, std::max(300, rest)},
              Qt::Horizontal);
  resizeDocks({timelineDock_}, {ui::metrics::kTimelineHeight}, Qt::Vertical);
}

void MainWindow::lockPanels(bool locked) {
  for (QDockWidget* dock : {sessionsDock_, inspectorDock_, timelineDock_}) {
    QWidget* old = dock->titleBarWidget();
    dock->setTitleBarWidget(locked ? new QWidget(dock) : nullptr);
    delete old;
  }
}

}  // namespace eyrie::app
