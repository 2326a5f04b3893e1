#include "app/gui/main_window.h"

#include <spdlog/spdlog.h>

#include <QApplication>
#include <QClipboard>
#include <QCloseEvent>
#include <QDir>
#include <QDockWidget>
#include <QFile>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QMimeData>
#include <QStackedWidget>
#include <QThreadPool>
#include <QToolButton>

namespace eyrie::app {

namespace {
constexpr int kColumnWidth = 752;  // the words of the conversation and their margins
}

MainWindow::MainWindow(const AppPaths& paths, ui::ThemeController* theme, QWidget* parent)
    : QMainWindow(parent),
      paths_(paths),
      settings_(paths.settings),
      theme_(theme),
      chat_(new ChatController(&bridge_, &sessions_, this)),
      compare_(new CompareController(&sessions_, this)),
      conversationModel_(new ui::ConversationModel(chat_->conversation(), this)),
      sessionModel_(new ui::SessionListModel(this)),
      pages_(new QStackedWidget(this)),
      status_(new ui::StatusStrip(this)),
      overlay_(new ui::DropOverlay(this)) {
  setObjectName(QStringLiteral("mainWindow"));
  setAcceptDrops(true);
  setMinimumSize(760, 480);
  resize(1280, 800);
  setDockOptions(QMainWindow::AnimatedDocks | QMainWindow::AllowNestedDocks | QMainWindow::AllowTabbedDocks);
  setCentralWidget(pages_);
  setStatusBar(status_);
  makeChatPage();
  makeDocks();
  makeActions();
  makeTopBar();
  connectEngine();
  connectChat();
  connectSessions();
  composer_->sampling()->setChoice(settings_.sampling());
  chat_->setSampling(settings_.sampling());
  composer_->setBlocked(tr("The model is being loaded"));
  status_->setState(ui::StatusStrip::State::busy, tr("Loading"));
  updateExamples();
  updateTitle();
  restoreGeometry(settings_.geometry());
  layout_ = settings_.layout() == QLatin1String("inspect") ? Layout::inspect : Layout::chat;
  applyLayout();
}

MainWindow::~MainWindow() {
  QThreadPool::globalInstance()->waitForDone(300);
  // Views hold pointers to the run and the selection, which are members: they go first.
  delete takeCentralWidget();
  delete inspectorDock_;
  delete timelineDock_;
}

void MainWindow::begin(const QString& model, std::int64_t session) {
  sessions_.open(paths_.store);
  if (session != 0) {
    openSession(session);
    if (!model.isEmpty()) openModel(model);
  } else {
    openModel(model.isEmpty() ? QStringLiteral("griffin") : model);
  }
  listModels();
  composer_->focusInput();
}

void MainWindow::makeChatPage() {
  chatPage_ = new QWidget(pages_);
  chatPage_->setObjectName(QStringLiteral("chatPage"));
  auto* row = new QHBoxLayout(chatPage_);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(0);
  auto* column = new QVBoxLayout;
  column->setContentsMargins(0, 0, 0, 12);
  column->setSpacing(8);
  notice_ = new ui::NoticeBar(chatPage_);
  card_ = new ui::ModelCard(chatPage_);
  chatView_ = new ui::ChatView(conversationModel_, chatPage_);
  composer_ = new ui::Composer(chatPage_);
  for (QWidget* widget : std::initializer_list<QWidget*>{notice_, card_, composer_})
    widget->setMaximumWidth(kColumnWidth);
  strip_ = new ui::NormsStrip(chatPage_);
  strip_->setVertical(true);
  strip_->setFixedWidth(132);
  const auto framed = [&](QWidget* widget) {
    auto* frame = new QHBoxLayout;
    frame->setContentsMargins(16, 0, 16, 0);
    frame->addStretch(1);
    frame->addWidget(widget, 1000);
    frame->addStretch(1);
    column->addLayout(frame);
  };
  column->addSpacing(4);
  framed(notice_);
  framed(card_);
  column->addWidget(chatView_, 1);
  framed(composer_);
  row->addLayout(column, 1);
  row->addWidget(strip_);
  pages_->addWidget(chatPage_);
  pages_->addWidget(compare_->makeView(pages_));
  strip_->setRun(bridge_.run());
  strip_->setSelection(&selection_);
  connect(strip_, &ui::NormsStrip::clicked, this, [this] { setLayoutPreset(Layout::inspect); });
  chatView_->setSelection(&selection_);
}

void MainWindow::makeDocks() {
  const auto dock = [this](const QString& name, const QString& title, QWidget* widget,
                           Qt::DockWidgetArea area) {
    auto* made = new QDockWidget(title, this);
    made->setObjectName(name);
    made->setWidget(widget);
    addDockWidget(area, made);
    return made;
  };
  sessionsPanel_ = new ui::SessionsPanel(sessionModel_, this);
  sessionsPanel_->setMinimumWidth(160);
  views_ = makeViews(bridge_.run(), &selection_, this,
                     [this](int view) { exportView(view, QStringLiteral("png")); });
  sessionsDock_ =
      dock(QStringLiteral("sessionsDock"), tr("Sessions"), sessionsPanel_, Qt::LeftDockWidgetArea);
  inspectorDock_ =
      dock(QStringLiteral("inspectorDock"), tr("Inspector"), views_.pane, Qt::RightDockWidgetArea);
  timelineDock_ =
      dock(QStringLiteral("timelineDock"), tr("Timeline"), views_.timeline, Qt::BottomDockWidgetArea);
  setCorner(Qt::BottomLeftCorner, Qt::BottomDockWidgetArea);
  setCorner(Qt::BottomRightCorner, Qt::BottomDockWidgetArea);
  lockPanels(settings_.panelsLocked());
}

void MainWindow::connectEngine() {
  connect(&bridge_, &EngineBridge::loadProgress, this, [this](double fraction) {
    modelButton_->setProgress(fraction);
    if (fraction >= 0)
      status_->setState(ui::StatusStrip::State::busy, tr("Loading %1 %").arg(int(100 * fraction)));
  });
  connect(&bridge_, &EngineBridge::loaded, this, &MainWindow::modelLoaded);
  connect(&bridge_, &EngineBridge::loadFailed, this, [this](const QString& text) {
    spdlog::error("load: {}", text.toStdString());
    status_->setState(bridge_.model() ? ui::StatusStrip::State::ready : ui::StatusStrip::State::failed,
                      bridge_.model() ? tr("Ready") : tr("No model"));
    composer_->setBlocked(bridge_.model() ? QString() : tr("No model is loaded: choose one at the top left"));
    notice()->showNotice(ui::NoticeBar::Kind::error, text, tr("Choose another model"),
                         [this] { chooseModelFolder(); });
  });
  connect(bridge_.run(), &ui::InspectedRun::traceChanged, this, [this] {
    status_->setPosition(std::max<std::int64_t>(0, bridge_.run()->trace.size() - 1));
    status_->setDropped(bridge_.droppedFrames());
  });
  followExport();
  followReread();
}

void MainWindow::connectChat() {
  connect(composer_, &ui::Composer::submitted, this, &MainWindow::submit);
  connect(composer_, &ui::Composer::stopRequested, chat_, &ChatController::stop);
  connect(composer_, &ui::Composer::openTextRequested, this, &MainWindow::chooseTextFile);
  connect(composer_, &ui::Composer::effectivePromptRequested, this,
          [this] { showEffectivePrompt(bridge_.model().get(), chat_->prompt(true)); });
  connect(compare_->view()->composer(), &ui::Composer::effectivePromptRequested, this,
          [this] { showEffectivePrompt(compare_->bridge(0).model().get(), compare_->prompt(0)); });
  connect(composer_, &ui::Composer::editLastRequested, chatView_, &ui::ChatView::editLastQuestion);
  connect(composer_, &ui::Composer::systemPromptChanged, this,
          [this] { chat_->setSystemPrompt(composer_->systemPrompt()); });
  connect(composer_->sampling(), &ui::SamplingPanel::changed, this,
          [this] { chat_->setSampling(composer_->sampling()->choice()); });
  for (ui::SamplingPanel* panel : {composer_->sampling(), compare_->view()->composer()->sampling()}) {
    connect(panel, &ui::SamplingPanel::defaultRequested, this, [this, panel] {
      settings_.setSampling(panel->choice());
      status_->showMessage(tr("New conversations begin with these values"), 4000);
    });
  }
  connectMessages();
  connect(chat_, &ChatController::writingChanged, this, &MainWindow::updateWriting);
  connect(compare_, &CompareController::writingChanged, this, &MainWindow::updateWriting);
  connect(chat_, &ChatController::stateChanged, this, [this](const QString& text) {
    status_->setState(chat_->isWriting() ? ui::StatusStrip::State::busy : ui::StatusStrip::State::ready,
                      text);
  });
  connect(chat_, &ChatController::speedChanged, status_, &ui::StatusStrip::setSpeed);
  connect(chat_, &ChatController::seedUsed, composer_, &ui::Composer::setLastSeed);
  connect(chat_, &ChatController::failed, this, [this](const QString& text) {
    spdlog::error("chat: {}", text.toStdString());
    notice()->showNotice(ui::NoticeBar::Kind::error, text);
  });
}

void MainWindow::connectMessages() {
  connect(chatView_, &ui::ChatView::exampleChosen, this,
          [this](const QString& text) { submit(text, composer_->mode()); });
  connect(chatView_, &ui::ChatView::copyRequested, this, [this](ui::TurnId id) {
    QApplication::clipboard()->setText(chat_->conversation()->turn(id).text);
    status_->showMessage(tr("Copied"), 1500);
  });
  connect(chatView_, &ui::ChatView::regenerateRequested, chat_, &ChatController::regenerate);
  connect(chatView_, &ui::ChatView::continueRequested, chat_, &ChatController::continueReply);
  connect(chatView_, &ui::ChatView::editFinished, chat_, &ChatController::edit);
  connect(chatView_, &ui::ChatView::branchRequested, chat_, &ChatController::branch);
  connect(chatView_, &ui::ChatView::siblingRequested, chat_, &ChatController::stepSibling);
}

ui::NoticeBar* MainWindow::notice() const {
  return layout_ == Layout::compare ? compare_->view()->notice() : notice_;
}

void MainWindow::submit(const QString& text, ui::ComposeMode mode) {
  if (chat_->isWriting() || !bridge_.model()) return;
  if (rereadRequest_ != 0) bridge_.cancel(rereadRequest_);  // the reply does not wait for it
  composer_->setText({});
  selection_.selectToken(-1);
  chat_->send(text, mode);
  // Watching is the point of reading.
  if (mode == ui::ComposeMode::read && layout_ == Layout::chat) setLayoutPreset(Layout::inspect);
}

void MainWindow::updateWriting() {
  composer_->setBusy(chat_->isWriting());
  views_.hint->setIdle(!chat_->isWriting());
  if (!chat_->isWriting() && layout_ != Layout::compare) composer_->focusInput();
}

void MainWindow::connectSessions() {
  connect(&sessions_, &SessionService::listed, this,
          [this](const std::vector<ui::SessionEntry>& entries) { sessionModel_->setEntries(entries); });
  const auto refresh = [this] { sessions_.refresh(sessionsPanel_->searchWords()); };
  connect(chat_, &ChatController::storedChanged, this, refresh);
  connect(compare_, &CompareController::storedChanged, this, refresh);
  connect(sessionsPanel_, &ui::SessionsPanel::searchChanged, this, refresh);
  const auto warn = [this](const QString& text) { notice()->showNotice(ui::NoticeBar::Kind::warning, text); };
  connect(&sessions_, &SessionService::notice, this, warn);
  connect(&sessions_, &SessionService::problem, this, warn);
  connect(&sessions_, &SessionService::recovered, this, [this](const QString& text) {
    notice()->showNotice(ui::NoticeBar::Kind::note, text, {}, {}, 8000);
  });
  connect(chat_, &ChatController::sessionChanged, this, [this] {
    if (layout_ != Layout::compare) sessionsPanel_->setCurrentSession(chat_->sessionId());
    selection_.selectToken(-1);
    updateTitle();
  });
  connect(compare_, &CompareController::sessionChanged, this, [this] {
    if (layout_ == Layout::compare) sessionsPanel_->setCurrentSession(compare_->sessionId());
  });
  connect(chat_, &ChatController::sessionOpened, this,
          [this](const QString& model, const QString& systemPrompt, const ui::SamplingChoice& sampling) {
            composer_->setSystemPrompt(systemPrompt);
            composer_->sampling()->setChoice(sampling);
            emit composer_->sampling()->changed();
            const bool same = bridge_.model() && QString::fromStdString(bridge_.model()->name) == model;
            if (!same && !model.isEmpty()) openModel(model);
          });
  connectSessionsPanel();
}

// A comparison opens as one; all else is a conversation.
void MainWindow::openSession(sessions::SessionId id) {
  if (id == (layout_ == Layout::compare ? compare_->sessionId() : chat_->sessionId())) return;
  sessions_.load(id, [this, opening = ++opening_](LoadedSession loaded) {
    if (opening != opening_) return;  // something else was chosen meanwhile
    if (!loaded.error.isEmpty()) return notice()->showNotice(ui::NoticeBar::Kind::error, loaded.error);
    if (CompareController::isComparison(loaded)) {
      compare_->openLoaded(std::move(loaded));
      return setLayoutPreset(Layout::compare);
    }
    if (layout_ == Layout::compare) setLayoutPreset(Layout::chat);
    chat_->openLoaded(std::move(loaded));
  });
}

void MainWindow::connectSessionsPanel() {
  const auto refresh = [this] { sessions_.refresh(sessionsPanel_->searchWords()); };
  connect(sessionsPanel_, &ui::SessionsPanel::newRequested, this, &MainWindow::newConversation);
  connect(sessionsPanel_, &ui::SessionsPanel::opened, this, &MainWindow::openSession);
  connect(sessionModel_, &ui::SessionListModel::renamed, this, [this](qint64 id, const QString& title) {
    sessions_.rename(id, title);
    chat_->renamed(id, title);
    updateTitle();
  });
  connect(sessionsPanel_, &ui::SessionsPanel::deleteRequested, this, [this, refresh](qint64 id) {
    if (id == chat_->sessionId()) chat_->newSession();
    if (id == compare_->sessionId()) compare_->clear();
    sessions_.remove(id);
    refresh();
    notice()->showNotice(
        ui::NoticeBar::Kind::note, tr("Session deleted."), tr("Undo"),
        [this, id, refresh] {
          sessions_.undelete(id);
          refresh();
        },
        12000);
  });
  connect(sessionsPanel_, &ui::SessionsPanel::exportRequested, this, [this](qint64 id) {
    const QString file = QFileDialog::getSaveFileName(this, tr("Export session"), tr("session.eyrie"),
                                                      tr("Eyrie session (*.eyrie)"));
    if (file.isEmpty()) return;
    sessions_.exportSession(id, file, [this, file](const QString& error) {
      notice()->showNotice(error.isEmpty() ? ui::NoticeBar::Kind::note : ui::NoticeBar::Kind::error,
                           error.isEmpty() ? tr("Session written to %1").arg(file) : error, {}, {},
                           error.isEmpty() ? 8000 : 0);
    });
  });
}

void MainWindow::updateTitle() {
  const QString title = chat_->title();
  setWindowTitle(title.isEmpty() ? tr("Eyrie") : tr("%1 – Eyrie").arg(title));
}

void MainWindow::openTextFile(const QString& file) {
  QThreadPool::globalInstance()->start([this, file] {
    constexpr qint64 kMost = 4 << 20;
    QFile input(file);
    const bool good = input.open(QIODevice::ReadOnly);
    const QByteArray bytes = good ? input.read(kMost + 1) : QByteArray();
    const QString error = good ? QString() : tr("%1: %2").arg(file, input.errorString());
    QMetaObject::invokeMethod(
        this,
        [this, bytes, error, file] {
          if (!error.isEmpty()) return notice()->showNotice(ui::NoticeBar::Kind::error, error);
          if (bytes.size() > kMost) {
            return notice()->showNotice(
                ui::NoticeBar::Kind::error,
                tr("%1 is larger than 4 MB, the most that is read at once.").arg(file));
          }
          if (bytes.contains('\0'))
            return notice()->showNotice(ui::NoticeBar::Kind::error, tr("%1 is not a text file.").arg(file));
          const QString text = QString::fromUtf8(bytes);
          if (text.trimmed().isEmpty())
            return notice()->showNotice(ui::NoticeBar::Kind::error, tr("%1 is empty.").arg(file));
          submit(text, ui::ComposeMode::read);
        },
        Qt::QueuedConnection);
  });
}

void MainWindow::closeEvent(QCloseEvent* event) {
  saveLayout();
  settings_.setGeometry(saveGeometry());
  settings_.setLayout(layout_ == Layout::inspect ? QStringLiteral("inspect") : QStringLiteral("chat"));
  chat_->stop();
  chat_->flush();
  bridge_.shutDown();
  compare_->shutDown();
  sessions_.finish(500);
  event->accept();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  const QList<QUrl> urls = event->mimeData()->urls();
  if (urls.isEmpty() || !urls.first().isLocalFile()) return;
  const QFileInfo info(urls.first().toLocalFile());
  const bool model = info.isDir() || info.suffix() == QLatin1String("safetensors") ||
                     info.fileName() == QLatin1String("config.json");
  overlay_->showText(model ? tr("Drop to open this model") : tr("Drop to read this text"));
  event->acceptProposedAction();
}

void MainWindow::dragLeaveEvent(QDragLeaveEvent*) {
  overlay_->hide();
}

void MainWindow::dropEvent(QDropEvent* event) {
  overlay_->hide();
  const QFileInfo info(event->mimeData()->urls().value(0).toLocalFile());
  event->acceptProposedAction();
  if (info.isDir()) return openModel(info.absoluteFilePath());
  if (info.suffix() == QLatin1String("safetensors") || info.fileName() == QLatin1String("config.json")) {
    return openModel(info.absolutePath());
  }
  openTextFile(info.absoluteFilePath());
}

void MainWindow::resizeEvent(QResizeEvent* event) {
  QMainWindow::resizeEvent(event);
  overlay_->setGeometry(rect());
}

void MainWindow::changeEvent(QEvent* event) {
  QMainWindow::changeEvent(event);
  if (event->type() == QEvent::LanguageChange) updateTitle();
}

}  // namespace eyrie::app
