// Ties the conversation in view to the engine and to the store: send, stop, write again, continue, edit,
// branch, read, reopen. GUI thread only. Split by concern: chat_controller.cpp (a reply from its commit to
// its end), chat_controller_turns.cpp (what asks for one), chat_controller_sessions.cpp (reopening, the
// trace).
#pragma once

#include <QObject>
#include <QString>
#include <QTimer>
#include <memory>
#include <optional>

#include "app/gui/engine_bridge.h"
#include "app/gui/reply_stream.h"
#include "app/gui/session_service.h"
#include "ui/chat/composer.h"
#include "ui/chat/conversation.h"
#include "ui/chat/prompt.h"
#include "ui/widgets/sampling_panel.h"

namespace eyrie::app {

class ChatController final : public QObject {
  Q_OBJECT
 public:
  ChatController(EngineBridge* bridge, SessionService* sessions, QObject* parent = nullptr);

  ui::Conversation* conversation() { return &conversation_; }
  bool isWriting() const { return turn_ != 0; }
  sessions::SessionId sessionId() const { return session_.id; }
  QString sessionModel() const { return QString::fromStdString(session_.model); }
  QString title() const { return QString::fromStdString(session_.title); }

  // What the next reply is made with.
  void setSampling(const ui::SamplingChoice& choice);
  void setSystemPrompt(const QString& prompt);
  void setTraceOptions(const engine::TraceOptions& options) { trace_ = options; }

  void send(const QString& text, ui::ComposeMode mode);
  void stop();
  void regenerate(ui::TurnId reply);
  void continueReply(ui::TurnId reply);
  void edit(ui::TurnId question, const QString& text);
  void branch(ui::TurnId reply, int tokenIndex, std::int32_t token);
  void stepSibling(ui::TurnId id, int delta);
  // The next or previous version of the newest turn that has versions.
  void stepNewestSibling(int delta);
  void newSession();
  void openSession(sessions::SessionId id);
  // The same for one that has been read from the store.
  void openLoaded(LoadedSession loaded);
  void renamed(sessions::SessionId id, const QString& title);
  // The tokens of the shown path under the model in use; empty without a tokenizer.
  ui::Prompt prompt(bool openReply) const;
  // What the newest reply in view was drawn with, its seed included; none: nothing was written.
  std::optional<engine::SamplingOptions> sampledWith() const;
  // Hands over what is not stored yet.
  void flush();

 signals:
  void writingChanged();
  void stateChanged(const QString& text);  // for the status bar
  void speedChanged(double tokensPerSecond);
  void seedUsed(quint64 seed);
  void sessionChanged();  // another one, or it got its id
  void storedChanged();   // the list is out of date
  void sessionOpened(const QString& model, const QString& systemPrompt,
                     const eyrie::ui::SamplingChoice& sampling);
  void failed(const QString& message);

 private:
  using Snapshot = std::shared_ptr<const engine::Snapshot>;

  ui::Turn newReply(ui::TurnId parent) const;
  void beginReply(ui::TurnId reply);
  void beginReading(ui::TurnId text);
  void commitThenRun();
  void committed(const std::vector<ui::TurnId>& turns, sessions::SessionId id,
                 const std::vector<sessions::MessageId>& ids);
  void runNow();
  engine::RunRequest requestFor(const ui::Prompt& prompt);
  void takeTokens(quint64 request, const std::vector<engine::TokenRecord>& tokens);
  void takePromptToken(const engine::TokenRecord& record);
  void finish(quint64 request, const engine::EngineEvent& event);
  void end(ui::TurnStatus status, std::uint64_t seed, double speed);
  void leave();
  void restore(LoadedSession& loaded);
  void afterLoad();
  std::vector<engine::TokenRecord> pathRecords();

  EngineBridge* bridge_;
  SessionService* sessions_;
  ui::Conversation conversation_;
  sessions::Session session_;
  ui::SamplingChoice sampling_;
  engine::TraceOptions trace_;
  ui::TurnId turn_ = 0;   // being written or, without a reply, read
  bool reading_ = false;  // no reply is wanted
  quint64 request_ = 0;
  int generation_ = 0;  // grows with every session change: late answers of the store are ignored
  ui::Prompt prompt_;   // of the running request
  engine::SamplingOptions drawnWith_;
  ReplyStream stream_;
  std::map<ui::TurnId, std::vector<engine::TokenRecord>> unsavedPrompt_;
  QTimer flush_;
  std::vector<Snapshot> waiting_;  // of a reopened session, until its model is loaded
  QElapsedTimer writing_;
  std::int64_t written_ = 0;
};

// First words of a text, for a title.
QString titleFrom(const QString& text);

}  // namespace eyrie::app
