// Two engines, one prompt: sends to both, waits for both, then gives each model the other's words. GUI
// thread only; the engines are made when Compare is first shown.
#pragma once

#include <QObject>
#include <array>
#include <memory>

#include "app/gui/engine_bridge.h"
#include "app/gui/session_service.h"
#include "engine/tokenizer/utf8_assembler.h"
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
  void openModel(int lane, const QString& model);
  bool isWriting() const { return lanes_[0].request != 0 || lanes_[1].request != 0 || committing_; }
  bool hasModels() const { return lanes_[0].bridge.model() && lanes_[1].bridge.model(); }
  void clear();
  void shutDown();

 public slots:
  void send(const QString& text);
  void stop();

 signals:
  void writingChanged();
  void storedChanged();

 private:
  struct Lane {
    EngineBridge bridge;
    ui::Conversation conversation;
    engine::Utf8Assembler assembler;
    quint64 request = 0;
    ui::TurnId reply = 0;
    ui::Prompt prompt;
    double speed = 0;
    std::vector<engine::TokenRecord> unsaved;
    QString unsavedText;
    // Scores of both answers under this lane's model.
    std::array<quint64, 2> scoring{};
    std::array<std::shared_ptr<const engine::ScoreResult>, 2> scores;
  };

  void connectLane(int index);
  void showFacts(int index);
  void startLane(int index, std::uint64_t seed);
  void takeTokens(int index, const std::vector<engine::TokenRecord>& tokens);
  void finishLane(int index, ui::TurnStatus status, const engine::EngineEvent* event);
  void flush();
  void scoreBoth();
  void takeScore(int index, quint64 request, const std::shared_ptr<const engine::ScoreResult>& score);
  void showDivergence();
  std::vector<std::int32_t> answerOf(int index) const;  // context and reply

  SessionService* sessions_;
  std::array<Lane, 2> lanes_;
  ui::CompareView* view_ = nullptr;
  sessions::Session session_;
  bool committing_ = false;
  QTimer flush_;
};

}  // namespace eyrie::app
