// The conversation as messages: streams, follows the newest while it is in view, says what to do when empty.
#pragma once

#include <QPointer>
#include <QScrollArea>

#include "engine/events.h"
#include "ui/chat/message_widget.h"
#include "ui/models/conversation_model.h"
#include "ui/selection.h"

class QLabel;
class QPushButton;
class QVBoxLayout;

namespace eyrie::ui {

class ChatSearch;
class TokenPopover;

class ChatView final : public QScrollArea {
  Q_OBJECT
 public:
  ChatView(ConversationModel* model, QWidget* parent = nullptr);

  void setModelInfo(std::shared_ptr<const engine::ModelInfo> info, bool isHawk);
  // Tokens of every message in place of Markdown; the selection is shared with every other view.
  void setTokenView(bool tokens);
  void setSelection(Selection* selection);
  void setColumnWidth(int width);  // of the words, at most
  void setExamples(const QString& title, const QString& text, const QStringList& prompts);
  void setActionsEnabled(bool enabled) { actions_ = enabled; }
  // Tints of the last reply's tokens (Compare); empty: surprisal.
  void setReplyTints(std::vector<float> tints);
  void editLastQuestion();
  void jumpToNewest();
  bool isFollowing() const { return following_; }
  ChatSearch* search();  // made when first asked for
  const std::vector<MessageWidget*>& messages() const { return messages_; }

 signals:
  void exampleChosen(const QString& prompt);
  void copyRequested(eyrie::ui::TurnId id);
  void regenerateRequested(eyrie::ui::TurnId id);
  void continueRequested(eyrie::ui::TurnId id);
  void editFinished(eyrie::ui::TurnId id, const QString& text);
  void siblingRequested(eyrie::ui::TurnId id, int delta);
  void branchRequested(eyrie::ui::TurnId id, int tokenIndex, qint32 token);

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  void rebuild();
  void insertRows(int first, int last);
  void removeRows(int first, int last);
  void refresh(int row);
  MessageWidget* makeMessage(TurnId id);
  void hoverToken(MessageWidget* message, int index);
  void showSelection();
  void placeOverlays();
  void updateEmpty();

  ConversationModel* model_;
  std::shared_ptr<const engine::ModelInfo> info_;
  bool isHawk_ = false;
  bool tokens_ = false;
  bool actions_ = true;
  bool following_ = true;
  QPointer<Selection> selection_;
  QWidget* content_;
  QWidget* column_;
  QVBoxLayout* list_;
  QWidget* empty_;
  QLabel* emptyTitle_;
  QLabel* emptyText_;
  QVBoxLayout* exampleList_;
  QPushButton* newest_;
  TokenPopover* popover_ = nullptr;
  ChatSearch* search_ = nullptr;
  QPointer<MessageWidget> hoveredMessage_;
  std::vector<MessageWidget*> messages_;
  std::vector<float> tints_;
};

}  // namespace eyrie::ui
