// Covers the window while something is dragged over it and says what dropping will do.
#pragma once

#include <QWidget>

namespace eyrie::ui {

class DropOverlay final : public QWidget {
  Q_OBJECT
 public:
  explicit DropOverlay(QWidget* window);
  void showText(const QString& text);

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QString text_;
};

}  // namespace eyrie::ui
