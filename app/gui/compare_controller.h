// Two engines, one prompt: sends to both, waits for both, then gives each model the other's words. GUI
// thread only; the engines are made when Compare is first shown. In the store a comparison is one session
// with two conversations whose first questions have the same words and the same moment.
#pragma once

#include <QObject>
#include <array>
#include <memory>

#include "app/gui/engine_bridge.h"
#include "app/gui/reply_stream.h"
#include "app/gui/session_service.h"
#include "ui/chat/conversation.h"
#include "ui/chat/prompt.h"
#include "ui/compare/compare_view.h"

namespace eyrie::app {

class CompareController final : public QObject {
  Q_OBJECT
 public:
  explicit CompareController(SessionService* sessions, QObject* parent = nullptr);

  ui::CompareView* view() const { return view_; }
  // Makes the view; the caller takes it into its layout.
  ui::CompareView* makeView(QWidget* parent);
  // Loads the default pair where no lane has a model yet.
  void activate();
  void openModel(int lane, const QString& model, const QString& weights = {});
  bool isWriting() const { return lanes_[0].request != 0 || lanes_[1].request != 0 || committing_; }
  bool hasModels() const { return lanes_[0].bridge.model() && lanes_[1].bridge.model(); }
  bool isEmpty() const { return lanes_[0].conversation.isEmpty(); }
  const ui::Conversation& conversation(int lane) const { return lanes_[std::size_t(lane)].conversation; }
  const EngineBridge& bridge(int lane) const { return lanes_[std::size_t(lane)].bridge; }
  sessions::SessionId sessionId() const { return session_.id; }
  // What a lane would be sent now.
  ui::Prompt prompt(int lane) const;
  void clear();
  // Shows a stored comparison with its two models.
  void openLoaded(LoadedSession loaded);
  void shutDown();

  static bool isComparison(const LoadedSession& loaded);

 public slots:
  void send(const QString& text);
  void stop();

 signals:
  void writingChanged();
  void storedChanged();
  void sessionChanged();

 private:
  struct Lane {
    EngineBridge bridge;
    ui::Conversation conversation;
    ReplyStream stream;
    quint64 request = 0;
    ui::TurnId reply = 0;  // of the last exchange
    ui::Prompt prompt;     // before it
    double speed = 0;
    bool restoring = false;  // the model being loaded is that of the words in view
    // Scores of both answers under this lane's model.
    std::array<quint64, 2> scoring{};
    std::array<std::shared_ptr<const engine::ScoreResult>, 2> scores;
  };

  // compare_controller.cpp
  void connectLane(int index);
  void followRun(int index);
  void laneLoaded(int index);
  void showFacts(int index);
  void addExchange(Lane& lane, const QString& text, std::int64_t now);
  void commitThenStart();
  void startLane(int index, std::uint64_t seed);
  void takeTokens(int index, const std::vector<engine::TokenRecord>& tokens);
  void finishLane(int index, ui::TurnStatus status, const engine::EngineEvent* event);
  void flush();
  void complain(const QString& text);
  // compare_sessions.cpp
  void restoreLane(int index, const std::vector<ui::Turn>& turns, ui::TurnId root);
  bool wroteLast(const Lane& lane) const;
  void showRestored(int index);
  // compare_scoring.cpp
  void scoreBoth();
  void takeScore(int index, quint64 request, const std::shared_ptr<const engine::ScoreResult>& score);
  void showDivergence();
  bool addDivergence(std::size_t text, std::vector<ui::DivergenceText>& texts);
  std::vector<std::int32_t> answerOf(int index) const;  // context and reply

  SessionService* sessions_;
  std::array<Lane, 2> lanes_;
  ui::CompareView* view_ = nullptr;
  sessions::Session session_;
  bool committing_ = false;
  int generation_ = 0;  // grows when the lanes are emptied: late answers of the store are ignored
  QTimer flush_;
};

}  // namespace eyrie::app
