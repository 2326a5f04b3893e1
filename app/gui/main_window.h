// The window: composition root of everything that is seen. Owns the engine, the store's thread, the
// conversation and the views, and connects them. GUI thread.
#pragma once

#include <QMainWindow>
#include <array>
#include <memory>

#include "app/gui/app_paths.h"
#include "app/gui/chat_controller.h"
#include "app/gui/compare_controller.h"
#include "app/gui/engine_bridge.h"
#include "app/gui/session_service.h"
#include "app/gui/settings.h"
#include "app/gui/views.h"
#include "engine/model_locator.h"
#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/models/conversation_model.h"
#include "ui/models/session_list_model.h"
#include "ui/selection.h"
#include "ui/widgets/drop_overlay.h"
#include "ui/widgets/model_button.h"
#include "ui/widgets/model_card.h"
#include "ui/widgets/norms_strip.h"
#include "ui/widgets/notice_bar.h"
#include "ui/widgets/segmented.h"
#include "ui/widgets/sessions_panel.h"
#include "ui/widgets/status_strip.h"

class QActionGroup;
class QDockWidget;
class QMenu;
class QStackedWidget;
class QToolButton;

namespace eyrie::app {

enum class Layout { chat, inspect, compare };

class MainWindow final : public QMainWindow {
  Q_OBJECT
 public:
  MainWindow(const AppPaths& paths, ui::ThemeController* theme, QWidget* parent = nullptr);
  ~MainWindow() override;

  // Called once after show(): `model` empty: the built-in Griffin; `session` 0: an empty conversation.
  void begin(const QString& model, std::int64_t session);

  ChatController* chat() { return chat_; }
  CompareController* compare() { return compare_; }
  EngineBridge* bridge() { return &bridge_; }
  SessionService* sessions() { return &sessions_; }
  ui::Selection* selection() { return &selection_; }

 public slots:
  void openModel(const QString& model);
  // The same in a lane of Compare.
  void openLaneModel(int lane, const QString& model);
  void openTextFile(const QString& file);
  void setLayoutPreset(eyrie::app::Layout layout);
  // The format by the ending: .npz, .safetensors, .csv, .jsonl.
  void exportTrace(const QString& file, const eyrie::ui::TraceExportChoice& choice = {});
  // By the ending: .png, .svg.
  void exportViewTo(int view, const QString& file);

 signals:
  void exported(const QString& file);

 protected:
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dragLeaveEvent(QDragLeaveEvent* event) override;
  void dropEvent(QDropEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  // main_window.cpp
  void makeChatPage();
  void makeDocks();
  void connectChat();
  void connectEngine();
  void connectSessions();
  void connectSessionsPanel();
  void connectMessages();
  void openSession(sessions::SessionId id);
  // Where a message is seen now: over the conversation, or over the lanes.
  ui::NoticeBar* notice() const;
  void updateWriting();
  void updateTitle();
  void submit(const QString& text, ui::ComposeMode mode);
  // main_window_actions.cpp
  void makeActions();
  void makeTopBar();
  void fillMainMenu(QMenu* menu);
  QAction* action(const QString& name, const QString& text, const QKeySequence& keys,
                  std::function<void()> act);
  void fillTraceMenu(QMenu* menu);
  void fillExportMenu(QMenu* menu);
  void showShortcuts();
  void showAbout();
  void showEffectivePrompt(const engine::ModelInfo* model, const ui::Prompt& prompt);
  void newConversation();
  void makeConversationActions();
  void makeLayoutActions();
  void makeFindActions();
  ui::ChatView* searchedView() const;
  QToolButton* menuButton(QWidget* bar, const QString& name, const QString& text,
                          void (MainWindow::*fill)(QMenu*));
  void makeModelButtons(QWidget* bar);
  void giveModelMenu(ui::ModelButton* button, std::function<void(const QString&)> open);
  void fillViewMenu(QMenu* menu);
  void backUp();
  void importSession();
  // main_window_settings.cpp
  void showSettings();
  void chooseTextFile();
  void fillDataMenu(QMenu* menu);
  void wipeData();
  // main_window_models.cpp
  void listModels();
  void fillModelMenu(QMenu* menu, std::function<void(const QString&)> open);
  // Off this thread: what the model is. A built-in one is loaded by `load` at once; others show `card` first.
  void lookAt(const QString& model, ui::ModelCard* card, std::function<void(const QString&)> load);
  void cannotOpen(const QString& text);
  void showNoModel(ui::StatusStrip::State state);
  void modelLoaded();
  void chooseModelFolder();
  engine::TraceOptions traceOptions() const;
  void applyTraceLevel();
  void updateExamples();
  // main_window_layout.cpp
  void applyLayout();
  void defaultLayout(Layout layout);
  void saveLayout();
  void lockPanels(bool locked);
  // main_window_export.cpp
  void chooseTraceExport();
  QString exportFacts() const;
  void exportView(int view, const QString& ending);
  void followExport();
  void reread();
  void followReread();

  AppPaths paths_;
  Settings settings_;
  ui::ThemeController* theme_;
  EngineBridge bridge_;
  SessionService sessions_;
  ChatController* chat_;
  CompareController* compare_;
  ui::Selection selection_;
  ui::ConversationModel* conversationModel_;
  ui::SessionListModel* sessionModel_;

  Layout layout_ = Layout::chat;
  bool shown_ = false;
  QStackedWidget* pages_;
  QWidget* chatPage_ = nullptr;
  ui::ChatView* chatView_ = nullptr;
  ui::Composer* composer_ = nullptr;
  ui::NoticeBar* notice_ = nullptr;
  ui::ModelCard* card_ = nullptr;
  ui::NormsStrip* strip_ = nullptr;
  ui::SessionsPanel* sessionsPanel_ = nullptr;
  Views views_;
  QDockWidget* sessionsDock_ = nullptr;
  QDockWidget* inspectorDock_ = nullptr;
  QDockWidget* timelineDock_ = nullptr;
  ui::StatusStrip* status_;
  ui::ModelButton* modelButton_ = nullptr;
  ui::Segmented* layouts_ = nullptr;
  QToolButton* traceButton_ = nullptr;
  QToolButton* exportButton_ = nullptr;
  ui::DropOverlay* overlay_;
  QActionGroup* traceGroup_ = nullptr;

  std::vector<engine::ModelLocation> builtIn_;
  std::vector<engine::ModelLocation> cached_;
  QString wantedModel_;  // being looked at or loaded, here or in a lane
  std::array<QString, 2> wantedLaneModels_;
  quint64 exportRequest_ = 0;
  QString exportFile_;
  quint64 rereadRequest_ = 0;
  int opening_ = 0;  // counts sessions asked for
};

}  // namespace eyrie::app
