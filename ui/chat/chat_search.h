// Finding words in the conversation: a small bar over its corner, every place marked, one of them current.
#pragma once

#include <QFrame>
#include <QPointer>
#include <utility>

class QLabel;
class QLineEdit;
class QToolButton;

namespace eyrie::ui {

class ChatView;
class MessageWidget;

class ChatSearch final : public QFrame {
  Q_OBJECT
 public:
  explicit ChatSearch(ChatView* view);

  void open();  // with the focus in its line
  void step(int delta);
  // Follows messages that come and go.
  void refresh();
  int count() const;
  int current() const;  // from 0; -1: none

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;
  void hideEvent(QHideEvent* event) override;

 private:
  void search();
  void choose(int index);
  std::pair<MessageWidget*, int> placeOf(int index) const;
  int firstInView() const;
  void showCount();
  void place();

  ChatView* view_;
  QLineEdit* input_;
  QLabel* count_;
  QToolButton* previous_;
  QToolButton* next_;
  QPointer<MessageWidget> message_;  // of the current match
  int match_ = -1;                   // in it
};

}  // namespace eyrie::ui
