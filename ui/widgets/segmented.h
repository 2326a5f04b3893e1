// A row of joined buttons of which one is down.
#pragma once

#include <QStringList>
#include <QWidget>

class QButtonGroup;
class QPushButton;

namespace eyrie::ui {

class Segmented final : public QWidget {
  Q_OBJECT
 public:
  // `names` are the buttons' object names, for keyboard help and tests.
  Segmented(const QStringList& texts, const QStringList& names, QWidget* parent = nullptr);

  int current() const;
  void setCurrent(int index);  // does not emit
  void setToolTips(const QStringList& tips);
  QPushButton* button(int index) const;

 signals:
  void chosen(int index);  // by the user

 private:
  QButtonGroup* group_;
};

}  // namespace eyrie::ui
