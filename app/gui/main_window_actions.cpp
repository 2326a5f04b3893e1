// Commands, each one QAction with a name and a key; the top bar and the menus made of them.
#include <QActionGroup>
#include <QApplication>
#include <QDesktopServices>
#include <QDialog>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QFrame>
#include <QHBoxLayout>
#include <QMenu>
#include <QMessageBox>
#include <QPlainTextEdit>
#include <QToolButton>
#include <QUrl>
#include <QVBoxLayout>

#include "app/gui/main_window.h"
#include "app/gui/menu_heading.h"
#include "ui/chat/chat_search.h"
#include "ui/theme/theme.h"
#include "ui/widgets/shortcut_sheet.h"

namespace eyrie::app {

QAction* MainWindow::action(const QString& name, const QString& text, const QKeySequence& keys,
                            std::function<void()> act) {
  auto* made = new QAction(text, this);
  made->setObjectName(name);
  made->setShortcut(keys);
  connect(made, &QAction::triggered, this, std::move(act));
  addAction(made);
  return made;
}

void MainWindow::newConversation() {
  ++opening_;
  if (layout_ == Layout::compare) return compare_->clear();
  ui::SamplingChoice choice = settings_.sampling();
  composer_->sampling()->setChoice(choice);
  emit composer_->sampling()->changed();
  chat_->newSession();
  composer_->focusInput();
}

void MainWindow::importSession() {
  const QString file =
      QFileDialog::getOpenFileName(this, tr("Import session"), {}, tr("Eyrie session (*.eyrie)"));
  if (file.isEmpty()) return;
  sessions_.importSession(file, [this](sessions::SessionId id, const QString& error) {
    if (!error.isEmpty()) return notice()->showNotice(ui::NoticeBar::Kind::error, error);
    sessions_.refresh(sessionsPanel_->searchWords());
    openSession(id);
  });
}

void MainWindow::makeActions() {
  action(QStringLiteral("newChat"), tr("New conversation"), QKeySequence::New, [this] { newConversation(); });
  action(QStringLiteral("openModelFolder"), tr("Open model folder…"), QKeySequence::Open,
         [this] { chooseModelFolder(); });
  action(QStringLiteral("openText"), tr("Read a text file…"), QKeySequence(QStringLiteral("Ctrl+Shift+O")),
         [this] { chooseTextFile(); });
  action(QStringLiteral("importSession"), tr("Import session…"), {}, [this] { importSession(); });
  action(QStringLiteral("chooseModel"), tr("Choose a model"), QKeySequence(QStringLiteral("Ctrl+M")),
         [this] { modelButton_->showMenu(); });
  action(QStringLiteral("exportTrace"), tr("Export trace…"), QKeySequence(QStringLiteral("Ctrl+E")),
         [this] { chooseTraceExport(); });
  makeFindActions();
  makeConversationActions();
  makeLayoutActions();
  action(QStringLiteral("settings"), tr("Settings…"), QKeySequence(QStringLiteral("Ctrl+,")),
         [this] { showSettings(); });
  action(QStringLiteral("shortcuts"), tr("Keyboard shortcuts"), QKeySequence(QStringLiteral("Ctrl+/")),
         [this] { showShortcuts(); });
  action(QStringLiteral("quit"), tr("Quit"), QKeySequence::Quit, [this] { close(); });
}

// The conversation in view; of two lanes the one with the focus, else the first.
ui::ChatView* MainWindow::searchedView() const {
  if (layout_ != Layout::compare) return chatView_;
  ui::CompareLane* second = compare_->view()->lane(1);
  return (second->isAncestorOf(QApplication::focusWidget()) ? second : compare_->view()->lane(0))->chat();
}

void MainWindow::makeFindActions() {
  action(QStringLiteral("find"), tr("Find in the conversation"), QKeySequence::Find,
         [this] { searchedView()->search()->open(); });
  action(QStringLiteral("findNext"), tr("Find next"), QKeySequence(Qt::Key_F3),
         [this] { searchedView()->search()->step(1); });
  action(QStringLiteral("findPrevious"), tr("Find previous"), QKeySequence(Qt::SHIFT | Qt::Key_F3),
         [this] { searchedView()->search()->step(-1); });
  action(QStringLiteral("search"), tr("Search sessions"), QKeySequence(QStringLiteral("Ctrl+K")), [this] {
    sessionsDock_->show();
    sessionsPanel_->focusSearch();
  });
}

void MainWindow::makeConversationActions() {
  const auto lastReply = [this] { return chat_->conversation()->leaf(); };
  action(QStringLiteral("stop"), tr("Stop"), QKeySequence(Qt::Key_Escape), [this] {
    chat_->stop();
    compare_->stop();
  });
  action(QStringLiteral("regenerateLast"), tr("Write the reply again"),
         QKeySequence(QStringLiteral("Ctrl+R")), [this, lastReply] { chat_->regenerate(lastReply()); });
  action(QStringLiteral("continueLast"), tr("Continue the reply"), QKeySequence(QStringLiteral("Alt+Return")),
         [this, lastReply] { chat_->continueReply(lastReply()); });
  action(QStringLiteral("editLast"), tr("Edit the last message"), QKeySequence(QStringLiteral("Ctrl+Up")),
         [this] { chatView_->editLastQuestion(); });
  action(QStringLiteral("previousSibling"), tr("Previous version"), QKeySequence(QStringLiteral("Alt+Left")),
         [this] { chat_->stepNewestSibling(-1); });
  action(QStringLiteral("nextSibling"), tr("Next version"), QKeySequence(QStringLiteral("Alt+Right")),
         [this] { chat_->stepNewestSibling(1); });
  action(QStringLiteral("newest"), tr("Jump to newest"), QKeySequence(QStringLiteral("Ctrl+End")), [this] {
    selection_.selectToken(-1);
    chatView_->jumpToNewest();
  });
}

void MainWindow::makeLayoutActions() {
  const char* layoutNames[] = {"layoutChat", "layoutInspect", "layoutCompare"};
  const QString layoutTexts[] = {tr("Chat"), tr("Inspect"), tr("Compare")};
  for (int i = 0; i < 3; ++i) {
    action(QString::fromLatin1(layoutNames[i]), layoutTexts[i],
           QKeySequence(QStringLiteral("Ctrl+%1").arg(i + 1)), [this, i] { setLayoutPreset(Layout(i)); });
  }
  action(QStringLiteral("toggleSessions"), tr("Sessions list"), QKeySequence(QStringLiteral("Ctrl+B")),
         [this] { sessionsDock_->setVisible(!sessionsDock_->isVisible()); });
  action(QStringLiteral("toggleInspector"), tr("Inspector"), QKeySequence(QStringLiteral("Ctrl+I")),
         [this] { setLayoutPreset(layout_ == Layout::inspect ? Layout::chat : Layout::inspect); });
  action(QStringLiteral("resetLayout"), tr("Reset layout"), {}, [this] {
    settings_.forgetLayouts();
    defaultLayout(layout_);
  });
}

// The menu is filled when it opens: what there is to choose changes.
void MainWindow::giveModelMenu(ui::ModelButton* button, std::function<void(const QString&)> open) {
  auto* menu = new QMenu(button);
  menu->setObjectName(button->objectName() + QStringLiteral("Menu"));
  connect(menu, &QMenu::aboutToShow, this, [this, menu, open] { fillModelMenu(menu, open); });
  button->setMenu(menu);
}

QToolButton* MainWindow::menuButton(QWidget* bar, const QString& name, const QString& text,
                                    void (MainWindow::*fill)(QMenu*)) {
  auto* button = new QToolButton(bar);
  button->setObjectName(name);
  button->setText(text);
  button->setAccessibleName(text);
  button->setProperty("kind", QStringLiteral("frame"));
  button->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(button);
  menu->setObjectName(name + QStringLiteral("Menu"));
  (this->*fill)(menu);
  button->setMenu(menu);
  button->setFixedHeight(ui::metrics::kControlHeight);
  return button;
}

void MainWindow::makeTopBar() {
  // The place of a menu bar: as wide as the window, above every dock.
  auto* bar = new QFrame(this);
  bar->setObjectName(QStringLiteral("topBar"));
  bar->setProperty("role", QStringLiteral("bar"));
  bar->setFixedHeight(ui::metrics::kTopBarHeight);
  auto* column = new QVBoxLayout(bar);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  auto* row = new QHBoxLayout;
  row->setContentsMargins(12, 7, 12, 8);
  row->setSpacing(ui::metrics::kGroup);
  auto* rule = new QFrame(bar);
  rule->setProperty("role", QStringLiteral("rule"));
  column->addLayout(row);
  column->addWidget(rule);
  setMenuWidget(bar);
  makeModelButtons(bar);
  layouts_ = new ui::Segmented(
      {tr("Chat"), tr("Inspect"), tr("Compare")},
      {QStringLiteral("chatLayout"), QStringLiteral("inspectLayout"), QStringLiteral("compareLayout")}, bar);
  layouts_->setToolTips({tr("Converse (Ctrl+1)"), tr("Watch gates, attention and states (Ctrl+2)"),
                         tr("Two models on one prompt (Ctrl+3)")});
  connect(layouts_, &ui::Segmented::chosen, this, [this](int index) { setLayoutPreset(Layout(index)); });
  traceButton_ = menuButton(bar, QStringLiteral("traceButton"), tr("Trace"), &MainWindow::fillTraceMenu);
  exportButton_ = menuButton(bar, QStringLiteral("exportButton"), tr("Export"), &MainWindow::fillExportMenu);
  QToolButton* main = menuButton(bar, QStringLiteral("menuButton"), QString(), &MainWindow::fillMainMenu);
  main->setIcon(ui::themeIcon(QStringLiteral("menu")));
  main->setAccessibleName(tr("Menu"));
  main->setToolTip(tr("Menu (F10)"));
  action(QStringLiteral("mainMenu"), tr("Menu"), QKeySequence(Qt::Key_F10), [main] { main->showMenu(); });
  row->addWidget(modelButton_);
  row->addWidget(layouts_);
  row->addStretch(1);
  for (QToolButton* button : {traceButton_, exportButton_, main}) row->addWidget(button);
}

// The window's model and those of the lanes are chosen in the same way.
void MainWindow::makeModelButtons(QWidget* bar) {
  modelButton_ = new ui::ModelButton(bar);
  modelButton_->setObjectName(QStringLiteral("modelButton"));
  giveModelMenu(modelButton_, [this](const QString& model) { openModel(model); });
  connect(card_, &ui::ModelCard::loadRequested, this, [this](const QString& folder, const QString& weights) {
    wantedModel_ = folder;
    settings_.setWeights(weights);
    bridge_.load(folder, weights);
  });
  for (int i = 0; i < 2; ++i) {
    ui::CompareLane* lane = compare_->view()->lane(i);
    giveModelMenu(lane->modelButton(), [this, i](const QString& model) { openLaneModel(i, model); });
    connect(lane->card(), &ui::ModelCard::loadRequested, this,
            [this, i](const QString& folder, const QString& weights) {
              settings_.addRecentModel(folder);
              settings_.setWeights(weights);
              compare_->openModel(i, folder, weights);
            });
  }
}

void MainWindow::fillTraceMenu(QMenu* menu) {
  traceGroup_ = new QActionGroup(this);
  const std::pair<int, QString> levels[] = {{-1, tr("By the model's size")},
                                            {0, tr("Off: nothing is recorded")},
                                            {1, tr("Summary: norms and means per layer")},
                                            {2, tr("Full: every channel of every layer")}};
  for (const auto& [level, text] : levels) {
    QAction* entry = menu->addAction(text);
    entry->setCheckable(true);
    entry->setData(level);
    entry->setChecked(level == settings_.traceLevel());
    traceGroup_->addAction(entry);
    connect(entry, &QAction::triggered, this, [this, chosen = level] {
      settings_.setTraceLevel(chosen);
      applyTraceLevel();
    });
  }
}

void MainWindow::applyTraceLevel() {
  const engine::TraceOptions options = traceOptions();
  chat_->setTraceOptions(options);
  const QString names[] = {tr("off"), tr("summary"), tr("full")};
  traceButton_->setText(tr("Trace: %1").arg(names[int(options.level)]));
  traceButton_->setToolTip(tr("What is recorded while the model reads and writes"));
}

void MainWindow::fillExportMenu(QMenu* menu) {
  menu->addAction(findChild<QAction*>(QStringLiteral("exportTrace")));
  addHeading(menu, tr("A view as a picture"));
  const QStringList names = viewNames(views_);
  for (int view = 0; view < int(names.size()); ++view) {
    QMenu* formats = menu->addMenu(names[view]);
    for (const char* ending : {"png", "svg"}) {
      const QString chosen = QString::fromLatin1(ending);
      connect(formats->addAction(chosen.toUpper() + QChar(0x2026)), &QAction::triggered, this,
              [this, view, chosen] { exportView(view, chosen); });
    }
  }
}

void MainWindow::fillMainMenu(QMenu* menu) {
  const auto add = [this](QMenu* to, const char* name) {
    to->addAction(findChild<QAction*>(QLatin1String(name)));
  };
  for (const char* name : {"newChat", "openModelFolder", "openText", "importSession"}) add(menu, name);
  menu->addSeparator();
  for (const char* name : {"find", "search"}) add(menu, name);
  menu->addSeparator();
  QMenu* reply = menu->addMenu(tr("Reply"));
  for (const char* name :
       {"stop", "regenerateLast", "continueLast", "editLast", "previousSibling", "nextSibling", "newest"})
    add(reply, name);
  fillViewMenu(menu->addMenu(tr("View")));
  fillDataMenu(menu->addMenu(tr("Data")));
  add(menu, "settings");
  QMenu* help = menu->addMenu(tr("Help"));
  add(help, "shortcuts");
  connect(help->addAction(tr("Show the log file")), &QAction::triggered, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(paths_.log)); });
  connect(help->addAction(tr("About Eyrie")), &QAction::triggered, this, [this] { showAbout(); });
  menu->addSeparator();
  add(menu, "quit");
}

void MainWindow::fillViewMenu(QMenu* menu) {
  for (const char* name : {"layoutChat", "layoutInspect", "layoutCompare", "toggleSessions"})
    menu->addAction(findChild<QAction*>(QLatin1String(name)));
  QAction* unlock = menu->addAction(tr("Panels can be moved"));
  unlock->setObjectName(QStringLiteral("unlockPanels"));
  unlock->setCheckable(true);
  unlock->setChecked(!settings_.panelsLocked());
  connect(unlock, &QAction::toggled, this, [this](bool on) {
    settings_.setPanelsLocked(!on);
    lockPanels(!on);
  });
  menu->addAction(findChild<QAction*>(QStringLiteral("resetLayout")));
}

void MainWindow::chooseTextFile() {
  const QString file = QFileDialog::getOpenFileName(this, tr("Read a text file"), {},
                                                    tr("Text files (*.txt *.md *.py *.json);;All files (*)"));
  if (!file.isEmpty()) openTextFile(file);
}

void MainWindow::showEffectivePrompt(const engine::ModelInfo* model, const ui::Prompt& prompt) {
  QDialog dialog(this);
  dialog.setObjectName(QStringLiteral("effectivePrompt"));
  dialog.setWindowTitle(tr("What is sent"));
  dialog.resize(560, 420);
  auto* text = new QPlainTextEdit(&dialog);
  text->setReadOnly(true);
  text->setFont(ui::themeFont(ui::TextRole::mono));
  text->setPlainText(model && model->tokenizer ? ui::promptAsText(*model, prompt)
                                               : tr("No model with a tokenizer is loaded."));
  text->setAccessibleName(dialog.windowTitle());
  auto* column = new QVBoxLayout(&dialog);
  column->addWidget(text);
  dialog.exec();
}

void MainWindow::showShortcuts() {
  ui::ShortcutSheet sheet(actions(), this);
  sheet.exec();
}

void MainWindow::showAbout() {
  QMessageBox::about(this, tr("About Eyrie"),
                     tr("<b>Eyrie %1</b><p>A desktop laboratory for recurrent language models.</p>"
                        "<p>Apache License 2.0. Data: %2</p>")
                         .arg(QApplication::applicationVersion(), paths_.data.toHtmlEscaped()));
}

}  // namespace eyrie::app
