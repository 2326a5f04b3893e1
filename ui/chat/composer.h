// Where text is written: a message to answer, a beginning to continue, or a text to read. Return sends.
#pragma once

#include <QFrame>

#include "ui/widgets/sampling_panel.h"

class QLabel;
class QMenu;
class QPlainTextEdit;
class QPushButton;
class QToolButton;
class QVBoxLayout;

namespace eyrie::ui {

class Segmented;

enum class ComposeMode { chat, continueText, read };

class Composer final : public QFrame {
  Q_OBJECT
 public:
  explicit Composer(QWidget* parent = nullptr, bool modes = true);

  ComposeMode mode() const { return mode_; }
  void setMode(ComposeMode mode);
  // Why nothing can be sent now; empty: it can.
  void setBlocked(const QString& reason);
  // While a reply is written the button stops it.
  void setBusy(bool busy);
  void setText(const QString& text);
  QString text() const;
  void focusInput();
  SamplingPanel* sampling() const { return sampling_; }
  void setLastSeed(quint64 seed);  // the one the last reply was drawn with
  QString systemPrompt() const;
  void setSystemPrompt(const QString& prompt);

 signals:
  void submitted(const QString& text, eyrie::ui::ComposeMode mode);
  void stopRequested();
  void openTextRequested();
  void effectivePromptRequested();
  void systemPromptChanged();
  void editLastRequested();  // Up in an empty composer

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void makeBottomRow(QVBoxLayout* column, bool modes);
  void makeSystemPrompt();
  void submit();
  void fitHeight();
  void updateState();
  void popUp(QWidget* panel, QWidget* above);

  QPlainTextEdit* input_;
  Segmented* modes_ = nullptr;
  QPushButton* summary_;
  QPushButton* system_;
  QPushButton* openText_;
  QPushButton* send_;
  SamplingPanel* sampling_;
  QFrame* systemPanel_;
  QPlainTextEdit* systemInput_;
  ComposeMode mode_ = ComposeMode::chat;
  QString blocked_;
  bool busy_ = false;
};

}  // namespace eyrie::ui
