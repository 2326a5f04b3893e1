// How two models differ, token by token: one row of bars a text, height the KL divergence of the two
// predictions. Hovering gives exact numbers; the first token at which the answers part is marked.
#pragma once

#include <QWidget>
#include <array>
#include <vector>

#include "engine/compare.h"

class QPainter;

namespace eyrie::ui {

struct DivergenceText {
  QString title;  // "Griffin's answer"
  bool writtenByB = false;
  std::vector<engine::TokenDifference> tokens;
  std::vector<QString> words;  // display form of each token
};

class DivergenceRow final : public QWidget {
  Q_OBJECT
 public:
  explicit DivergenceRow(QWidget* parent = nullptr);

  void setNames(const QString& a, const QString& b, bool aIsHawk, bool bIsHawk);
  void setTexts(std::vector<DivergenceText> texts, int firstDifference);  // -1: the answers are the same
  void setMessage(const QString& text);                                   // in place of bars
  QString readout() const { return readout_; }
  QSize sizeHint() const override { return {600, 132}; }

 signals:
  void hovered(int text, int token);  // -1, -1: left

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  QRectF barsOf(int text) const;
  void point(int text, int token);
  void drawText(QPainter& painter, int text) const;

  QString nameA_, nameB_;
  bool hawkA_ = false, hawkB_ = true;
  std::vector<DivergenceText> texts_;
  int first_ = -1;
  QString message_;
  QString readout_;
  int text_ = -1;
  int token_ = -1;
};

}  // namespace eyrie::ui
