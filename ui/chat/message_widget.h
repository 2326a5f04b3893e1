// One turn of the conversation: who, facts, words. Actions appear when the pointer or the focus is on it.
#pragma once

#include <QFrame>
#include <memory>

#include "ui/chat/conversation.h"
#include "ui/chat/message_body.h"

class QLabel;
class QHBoxLayout;
class QPlainTextEdit;
class QToolButton;

namespace eyrie::ui {

struct MessageLook {
  bool tokens = false;  // inspected: tokens in place of Markdown
  bool isHawk = false;
  bool isLast = false;
  bool actions = true;  // editing, writing again
  std::shared_ptr<const engine::Tokenizer> tokenizer;
};

class MessageWidget final : public QFrame {
  Q_OBJECT
 public:
  MessageWidget(TurnId id, QWidget* parent = nullptr);

  TurnId id() const { return id_; }
  MessageBody* body() const { return body_; }
  void show(const Turn& turn, int sibling, int siblings, const MessageLook& look);
  // Words can be changed in place; editFinished follows unless it is given up.
  void beginEdit();

 signals:
  void copyRequested(eyrie::ui::TurnId id);
  void regenerateRequested(eyrie::ui::TurnId id);
  void continueRequested(eyrie::ui::TurnId id);
  void editFinished(eyrie::ui::TurnId id, const QString& text);
  void siblingRequested(eyrie::ui::TurnId id, int delta);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;
  void enterEvent(QEnterEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void showHeader(const Turn& turn);
  void showSiblings(int sibling, int siblings);
  QToolButton* addAction(const QString& icon, const QString& text, const QString& name);
  void makeActions();
  void updateActions();
  void endEdit(bool accept);

  TurnId id_;
  Turn facts_;  // without words and tokens
  MessageLook look_;
  QHBoxLayout* header_;
  QLabel* dot_;
  QLabel* name_;
  QLabel* details_;
  MessageBody* body_;
  QWidget* actions_ = nullptr;  // made when first needed: a long conversation has hundreds of messages
  QWidget* siblings_ = nullptr;
  QLabel* siblingText_ = nullptr;
  QPlainTextEdit* editor_ = nullptr;
  QToolButton* edit_ = nullptr;
  QToolButton* regenerate_ = nullptr;
  QToolButton* continue_ = nullptr;
  bool pointerInside_ = false;
};

}  // namespace eyrie::ui
