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

void MainWindow::makeActions() {
  const auto lastReply = [this] { return chat_->conversation()->leaf(); };
  action(QStringLiteral("newChat"), tr("New conversation"), QKeySequence::New, [this] {
    if (layout_ == Layout::compare) return compare_->clear();
    chat_->newSession();
    composer_->focusInput();
  });
  action(QStringLiteral("openModelFolder"), tr("Open model folder…"), QKeySequence::Open,
         [this] { chooseModelFolder(); });
  action(QStringLiteral("openText"), tr("Read a text file…"), QKeySequence(QStringLiteral("Ctrl+Shift+O")),
         [this] { chooseTextFile(); });
  action(QStringLiteral("importSession"), tr("Import session…"), {}, [this] {
    const QString file =
        QFileDialog::getOpenFileName(this, tr("Import session"), {}, tr("Eyrie session (*.eyrie)"));
    if (file.isEmpty()) return;
    sessions_.importSession(file, [this](sessions::SessionId id, const QString& error) {
      if (!error.isEmpty()) return notice_->showNotice(ui::NoticeBar::Kind::error, error);
      sessions_.refresh(sessionsPanel_->searchWords());
      chat_->openSession(id);
    });
  });
  action(QStringLiteral("search"), tr("Search sessions"), QKeySequence(QStringLiteral("Ctrl+K")), [this] {
    sessionsDock_->show();
    sessionsPanel_->focusSearch();
  });
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
  const auto sibling = [this](int delta) {
    // The newest turn that has versions.
    const auto& path = chat_->conversation()->path();
    for (auto id = path.rbegin(); id != path.rend() && !chat_->isWriting(); ++id) {
      if (chat_->conversation()->siblings(*id).size() > 1)
        return chat_->conversation()->stepSibling(*id, delta);
    }
  };
  action(QStringLiteral("previousSibling"), tr("Previous version"), QKeySequence(QStringLiteral("Alt+Left")),
         [sibling] { sibling(-1); });
  action(QStringLiteral("nextSibling"), tr("Next version"), QKeySequence(QStringLiteral("Alt+Right")),
         [sibling] { sibling(1); });
  action(QStringLiteral("newest"), tr("Jump to newest"), QKeySequence(QStringLiteral("Ctrl+End")), [this] {
    selection_.selectToken(-1);
    chatView_->jumpToNewest();
  });
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
  action(QStringLiteral("chooseModel"), tr("Choose a model"), QKeySequence(QStringLiteral("Ctrl+M")),
         [this] { modelButton_->showMenu(); });
  action(QStringLiteral("exportTrace"), tr("Export trace…"), QKeySequence(QStringLiteral("Ctrl+E")),
         [this] { chooseTraceFile(QStringLiteral("npz")); });
  action(QStringLiteral("shortcuts"), tr("Keyboard shortcuts"), QKeySequence(QStringLiteral("Ctrl+/")),
         [this] { showShortcuts(); });
  action(QStringLiteral("quit"), tr("Quit"), QKeySequence::Quit, [this] { close(); });
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
  modelButton_ = new ui::ModelButton(bar);
  modelButton_->setObjectName(QStringLiteral("modelButton"));
  const auto modelMenu = [this](ui::ModelButton* button, std::function<void(const QString&)> open) {
    auto* menu = new QMenu(button);
    menu->setObjectName(button->objectName() + QStringLiteral("Menu"));
    connect(menu, &QMenu::aboutToShow, this, [this, menu, open] { fillModelMenu(menu, open); });
    button->setMenu(menu);
  };
  modelMenu(modelButton_, [this](const QString& model) { openModel(model); });
  for (int i = 0; i < 2; ++i) {
    modelMenu(compare_->view()->lane(i)->modelButton(),
              [this, i](const QString& model) { compare_->openModel(i, model); });
  }
  layouts_ = new ui::Segmented(
      {tr("Chat"), tr("Inspect"), tr("Compare")},
      {QStringLiteral("chatLayout"), QStringLiteral("inspectLayout"), QStringLiteral("compareLayout")}, bar);
  layouts_->setToolTips({tr("Converse (Ctrl+1)"), tr("Watch gates, attention and states (Ctrl+2)"),
                         tr("Two models on one prompt (Ctrl+3)")});
  connect(layouts_, &ui::Segmented::chosen, this, [this](int index) { setLayoutPreset(Layout(index)); });
  auto* spacer = new QWidget(bar);
  spacer->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  const auto menuButton = [this, bar](const QString& name, const QString& text, auto fill) {
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
  };
  traceButton_ = menuButton(QStringLiteral("traceButton"), tr("Trace"), &MainWindow::fillTraceMenu);
  exportButton_ = menuButton(QStringLiteral("exportButton"), tr("Export"), &MainWindow::fillExportMenu);
  QToolButton* main = menuButton(QStringLiteral("menuButton"), QString(), &MainWindow::fillMainMenu);
  main->setIcon(ui::themeIcon(QStringLiteral("menu")));
  main->setAccessibleName(tr("Menu"));
  main->setToolTip(tr("Menu (F10)"));
  action(QStringLiteral("mainMenu"), tr("Menu"), QKeySequence(Qt::Key_F10), [main] { main->showMenu(); });
  for (QWidget* widget :
       std::initializer_list<QWidget*>{modelButton_, layouts_, spacer, traceButton_, exportButton_, main}) {
    row->addWidget(widget);
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
  const auto trace = [&](const QString& text, const QString& ending) {
    connect(menu->addAction(text), &QAction::triggered, this, [this, ending] { chooseTraceFile(ending); });
  };
  menu->addSection(tr("Trace of this conversation"));
  trace(tr("NPZ, for numpy…"), QStringLiteral("npz"));
  trace(tr("safetensors…"), QStringLiteral("safetensors"));
  trace(tr("CSV, one row a token…"), QStringLiteral("csv"));
  trace(tr("JSON Lines…"), QStringLiteral("jsonl"));
  menu->addSection(tr("A view as a picture"));
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
  for (const char* name : {"newChat", "search", "openModelFolder", "openText", "importSession"})
    add(menu, name);
  menu->addSeparator();
  QMenu* reply = menu->addMenu(tr("Reply"));
  for (const char* name :
       {"stop", "regenerateLast", "continueLast", "editLast", "previousSibling", "nextSibling", "newest"})
    add(reply, name);
  QMenu* view = menu->addMenu(tr("View"));
  for (const char* name : {"layoutChat", "layoutInspect", "layoutCompare", "toggleSessions"}) add(view, name);
  QAction* unlock = view->addAction(tr("Panels can be moved"));
  unlock->setObjectName(QStringLiteral("unlockPanels"));
  unlock->setCheckable(true);
  unlock->setChecked(!settings_.panelsLocked());
  connect(unlock, &QAction::toggled, this, [this](bool on) {
    settings_.setPanelsLocked(!on);
    lockPanels(!on);
  });
  add(view, "resetLayout");
  view->addSection(tr("Appearance"));
  auto* group = new QActionGroup(this);
  const std::pair<ui::ThemeMode, QString> modes[] = {{ui::ThemeMode::system, tr("As the system")},
                                                     {ui::ThemeMode::light, tr("Light")},
                                                     {ui::ThemeMode::dark, tr("Dark")}};
  for (const auto& [mode, text] : modes) {
    QAction* entry = view->addAction(text);
    entry->setCheckable(true);
    entry->setChecked(mode == theme_->mode());
    group->addAction(entry);
    connect(entry, &QAction::triggered, this, [this, chosen = mode] {
      settings_.setTheme(chosen);
      theme_->setMode(chosen);
    });
  }
  fillDataMenu(menu->addMenu(tr("Data")));
  QMenu* help = menu->addMenu(tr("Help"));
  add(help, "shortcuts");
  connect(help->addAction(tr("Show the log file")), &QAction::triggered, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(paths_.log)); });
  connect(help->addAction(tr("About Eyrie")), &QAction::triggered, this, [this] { showAbout(); });
  menu->addSeparator();
  add(menu, "quit");
}

void MainWindow::fillDataMenu(QMenu* menu) {
  connect(menu->addAction(tr("Open the data folder")), &QAction::triggered, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(paths_.data)); });
  connect(menu->addAction(tr("Back up all sessions…")), &QAction::triggered, this, [this] {
    const QString file = QFileDialog::getSaveFileName(
        this, tr("Back up all sessions"), QStringLiteral("eyrie-backup.db"), tr("SQLite database (*.db)"));
    if (file.isEmpty()) return;
    sessions_.backup(file, [this, file](const QString& error) {
      notice_->showNotice(error.isEmpty() ? ui::NoticeBar::Kind::note : ui::NoticeBar::Kind::error,
                          error.isEmpty() ? tr("Backup written to %1").arg(file) : error, {}, {},
                          error.isEmpty() ? 8000 : 0);
    });
  });
  connect(menu->addAction(tr("How to move it…")), &QAction::triggered, this, [this] {
    notice_->showNotice(ui::NoticeBar::Kind::note, tr("Close Eyrie and move %1 to the other machine or "
                                                      "folder; XDG_DATA_HOME or --profile says where it is.")
                                                       .arg(paths_.data));
  });
  menu->addSeparator();
  connect(menu->addAction(tr("Delete all sessions…")), &QAction::triggered, this, [this] { wipeData(); });
}

void MainWindow::wipeData() {
  QMessageBox box(QMessageBox::Warning, tr("Delete all sessions"),
                  tr("Every conversation in %1 will be deleted. This cannot be undone.").arg(paths_.data),
                  QMessageBox::Cancel, this);
  QPushButton* erase = box.addButton(tr("Delete everything"), QMessageBox::DestructiveRole);
  box.setDefaultButton(QMessageBox::Cancel);
  box.exec();
  if (box.clickedButton() != static_cast<QAbstractButton*>(erase)) return;
  chat_->newSession();
  sessions_.wipe([this](const QString& error) {
    notice_->showNotice(error.isEmpty() ? ui::NoticeBar::Kind::note : ui::NoticeBar::Kind::error,
                        error.isEmpty() ? tr("All sessions are deleted.") : error, {}, {},
                        error.isEmpty() ? 6000 : 0);
  });
}

void MainWindow::chooseTextFile() {
  const QString file = QFileDialog::getOpenFileName(this, tr("Read a text file"), {},
                                                    tr("Text files (*.txt *.md *.py *.json);;All files (*)"));
  if (!file.isEmpty()) openTextFile(file);
}

void MainWindow::showEffectivePrompt() {
  QDialog dialog(this);
  dialog.setObjectName(QStringLiteral("effectivePrompt"));
  dialog.setWindowTitle(tr("What is sent"));
  dialog.resize(560, 420);
  auto* text = new QPlainTextEdit(&dialog);
  text->setReadOnly(true);
  text->setFont(ui::themeFont(ui::TextRole::mono));
  const ui::Prompt prompt = chat_->prompt(true);
  text->setPlainText(bridge_.model() && bridge_.model()->tokenizer
                         ? ui::promptAsText(*bridge_.model(), prompt)
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
