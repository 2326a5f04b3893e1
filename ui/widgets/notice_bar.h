// A message in the place concerned: one sentence, a remedy as a button, dismissed by a click. Never a dialog.
#pragma once

#include <QFrame>
#include <functional>

class QLabel;
class QPushButton;
class QTimer;
class QToolButton;

namespace eyrie::ui {

class NoticeBar final : public QFrame {
  Q_OBJECT
 public:
  enum class Kind { error, warning, note };

  explicit NoticeBar(QWidget* parent = nullptr);

  // `remedy` empty: no button. A later message takes the place of this one.
  void showNotice(Kind kind, const QString& text, const QString& remedy = {}, std::function<void()> act = {},
                  int milliseconds = 0);
  QString text() const;

 public slots:
  void dismiss();

 private:
  QLabel* text_;
  QPushButton* remedy_;
  QToolButton* copy_;
  QTimer* timer_;
  std::function<void()> act_;
};

}  // namespace eyrie::ui
