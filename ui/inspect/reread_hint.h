// Says that what is in view was not recorded, and offers to read it again: a page in place of empty views
// when nothing was, a bar above them when a part is missing.
#pragma once

#include <QFrame>
#include <QPointer>

#include "ui/inspect/inspected_run.h"

class QLabel;
class QPushButton;

namespace eyrie::ui {

class RereadHint final : public QFrame {
  Q_OBJECT
 public:
  // `views` are hidden while the page stands in their place.
  explicit RereadHint(QWidget* views, QWidget* parent = nullptr);

  void setRun(InspectedRun* run);
  // While a reply is written or something is read nothing is offered: frames may lag.
  void setIdle(bool idle);
  // Tokens read again so far; a total of 0: not reading.
  void setProgress(std::int64_t done, std::int64_t total);
  // Tokens without a recording that a second reading would bring.
  std::int64_t missing() const;

 signals:
  void rereadRequested();
  void cancelRequested();

 private:
  void makeBar();
  void makePage();
  void refresh();

  QPointer<InspectedRun> run_;
  QWidget* views_;
  QWidget* page_;
  QLabel* pageText_;
  QWidget* bar_;
  QLabel* barText_;
  QPushButton* barButton_;
  bool idle_ = true;
  std::int64_t done_ = 0;
  std::int64_t total_ = 0;
};

}  // namespace eyrie::ui
