// Two lanes on one prompt: each with its model, its conversation, its state norms and its speed; below, how
// they diverge, and one composer that sends to both.
#pragma once

#include <QFrame>
#include <array>

#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/compare/divergence_row.h"
#include "ui/widgets/model_button.h"
#include "ui/widgets/model_card.h"
#include "ui/widgets/norms_strip.h"
#include "ui/widgets/notice_bar.h"

namespace eyrie::ui {

class CompareLane final : public QFrame {
  Q_OBJECT
 public:
  CompareLane(const QString& name, Conversation* conversation, InspectedRun* run, QWidget* parent = nullptr);

  ModelButton* modelButton() const { return button_; }
  ModelCard* card() const { return card_; }
  ChatView* chat() const { return chat_; }
  NormsStrip* norms() const { return norms_; }
  void setFacts(const QString& facts);

 private:
  ConversationModel* model_;
  ModelButton* button_;
  QLabel* facts_;
  ModelCard* card_;
  ChatView* chat_;
  NormsStrip* norms_;
};

class CompareView final : public QWidget {
  Q_OBJECT
 public:
  CompareView(std::array<Conversation*, 2> conversations, std::array<InspectedRun*, 2> runs,
              QWidget* parent = nullptr);

  CompareLane* lane(int index) const { return lanes_[std::size_t(index)]; }
  DivergenceRow* divergence() const { return divergence_; }
  Composer* composer() const { return composer_; }
  NoticeBar* notice() const { return notice_; }

 private:
  void shareScale();

  std::array<CompareLane*, 2> lanes_{};
  NoticeBar* notice_;
  DivergenceRow* divergence_;
  Composer* composer_;
};

}  // namespace eyrie::ui
