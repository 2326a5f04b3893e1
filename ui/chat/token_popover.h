// What the model thought of at one token: alternatives with bars and probabilities, surprisal, rank. Floats
// over the conversation; clicking an alternative asks for a branch there.
#pragma once

#include <QFrame>
#include <QString>
#include <vector>

class QTimer;

namespace eyrie::ui {

struct Alternative {
  std::int32_t token = -1;
  QString text;           // as in lists: leading space as ␣
  float probability = 0;  // at temperature 1
  bool taken = false;
};

struct TokenFacts {
  std::int64_t position = -1;
  QString text;
  float bits = 0;  // surprisal; NaN: not scored
  int rank = -1;
  bool canBranch = false;
  std::vector<Alternative> alternatives;
};

class TokenPopover final : public QFrame {
  Q_OBJECT
 public:
  explicit TokenPopover(QWidget* window);

  // Near `anchor` (coordinates of the parent), inside the parent. Stays while the pointer is on it.
  void showFacts(const TokenFacts& facts, const QRect& anchor);
  void hideSoon();

 signals:
  void branchRequested(qint64 position, qint32 token);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void enterEvent(QEnterEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  int rowAt(const QPoint& point) const;

  TokenFacts facts_;
  int hovered_ = -1;
  QTimer* hide_;
};

// Leading spaces as ␣, line ends as ⏎.
QString visibleToken(const QString& text);

}  // namespace eyrie::ui
