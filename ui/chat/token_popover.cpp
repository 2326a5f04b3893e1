#include "ui/chat/token_popover.h"

#include <QGraphicsDropShadowEffect>
#include <QLocale>
#include <QMouseEvent>
#include <QPainter>
#include <QTimer>
#include <algorithm>
#include <cmath>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {
constexpr int kWidth = 224;
constexpr int kHead = 34;
constexpr int kRow = 21;
constexpr int kFoot = 30;
}  // namespace

QString visibleToken(const QString& text) {
  QString shown = text;
  qsizetype spaces = 0;
  while (spaces < shown.size() && shown[spaces] == QLatin1Char(' ')) shown[spaces++] = QChar(0x2423);
  shown.replace(QLatin1Char('\n'), QChar(0x23CE));
  return shown;
}

TokenPopover::TokenPopover(QWidget* window) : QFrame(window), hide_(new QTimer(this)) {
  setObjectName(QStringLiteral("tokenPopover"));
  setMouseTracking(true);
  auto* shadow = new QGraphicsDropShadowEffect(this);
  shadow->setBlurRadius(18);
  shadow->setOffset(0, 4);
  shadow->setColor(QColor(0, 0, 0, 60));
  setGraphicsEffect(shadow);
  hide_->setSingleShot(true);
  hide_->setInterval(250);
  connect(hide_, &QTimer::timeout, this, &QWidget::hide);
  hide();
}

void TokenPopover::showFacts(const TokenFacts& facts, const QRect& anchor) {
  facts_ = facts;
  hovered_ = -1;
  hide_->stop();
  const int rows = std::max(1, int(facts_.alternatives.size()));
  resize(kWidth, kHead + rows * kRow + kFoot);
  QPoint place(anchor.left() - 12, anchor.bottom() + 6);
  if (place.y() + height() > parentWidget()->height() - 8) place.setY(anchor.top() - 6 - height());
  place.setX(std::clamp(place.x(), 8, std::max(8, parentWidget()->width() - width() - 8)));
  place.setY(std::max(8, place.y()));
  move(place);
  setAccessibleName(tr("Alternatives to %1").arg(facts_.text));
  show();
  raise();
  update();
}

void TokenPopover::hideSoon() {
  if (isVisible() && !hide_->isActive()) hide_->start();
}

int TokenPopover::rowAt(const QPoint& point) const {
  const int row = (point.y() - kHead) / kRow;
  return point.y() >= kHead && row < int(facts_.alternatives.size()) ? row : -1;
}

void TokenPopover::paintEvent(QPaintEvent*) {
  const Theme& theme = Theme::current();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(theme.line, 1));
  painter.setBrush(theme.panel);
  painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
  const QRect inner = rect().adjusted(12, 0, -12, 0);
  const QRect head(inner.left(), 4, inner.width(), kHead - 6);
  const QString bits =
      std::isnan(facts_.bits) ? tr("not scored") : tr("%1 bits").arg(QLocale().toString(facts_.bits, 'f', 2));
  painter.setFont(themeFont(TextRole::secondary));
  painter.setPen(theme.dim);
  painter.drawText(head, Qt::AlignRight | Qt::AlignVCenter, bits);
  painter.setFont(themeFont(TextRole::secondaryTitle));
  const int room = head.width() - painter.fontMetrics().horizontalAdvance(bits) - 12;
  const QString title =
      tr("Instead of “%1”")
          .arg(facts_.text.trimmed().isEmpty() ? visibleToken(facts_.text) : facts_.text.trimmed());
  painter.drawText(head, Qt::AlignLeft | Qt::AlignVCenter,
                   painter.fontMetrics().elidedText(title, Qt::ElideRight, room));
  for (int i = 0; i < int(facts_.alternatives.size()); ++i) {
    const Alternative& entry = facts_.alternatives[std::size_t(i)];
    const QRect row(inner.left(), kHead + i * kRow, inner.width(), kRow);
    if (i == hovered_ && facts_.canBranch) {
      painter.setPen(Qt::NoPen);
      painter.setBrush(theme.accentGround);
      painter.drawRoundedRect(row.adjusted(-6, 0, 6, 0), 4, 4);
    }
    painter.setFont(themeFont(TextRole::mono));
    painter.setPen(entry.taken ? theme.accent : theme.text);
    painter.drawText(row.adjusted(0, 0, -110, 0), Qt::AlignLeft | Qt::AlignVCenter,
                     painter.fontMetrics().elidedText(visibleToken(entry.text), Qt::ElideRight, 84));
    painter.setPen(theme.text);
    painter.drawText(row, Qt::AlignRight | Qt::AlignVCenter,
                     tr("%1 %").arg(QLocale().toString(100.0 * double(entry.probability), 'f', 1)));
    painter.setPen(Qt::NoPen);
    painter.setBrush(theme.accent);
    const double length = std::max(2.0, 52.0 * double(entry.probability));
    painter.drawRoundedRect(QRectF(row.left() + 92, row.center().y() - 2, length, 5), 2.5, 2.5);
  }
  painter.setFont(themeFont(TextRole::secondary));
  painter.setPen(theme.dim);
  const QRect foot(inner.left(), height() - kFoot, inner.width(), kFoot - 4);
  QString note = facts_.canBranch ? tr("Click one to branch here") : QString();
  if (facts_.alternatives.empty()) note = tr("No alternatives were kept for this token");
  if (facts_.rank > 0 && note.isEmpty()) note = tr("Rank %1").arg(facts_.rank + 1);
  painter.drawText(foot, Qt::AlignLeft | Qt::AlignVCenter, note);
}

void TokenPopover::mouseMoveEvent(QMouseEvent* event) {
  const int row = rowAt(event->pos());
  if (row == hovered_) return;
  hovered_ = row;
  setCursor(row >= 0 && facts_.canBranch ? Qt::PointingHandCursor : Qt::ArrowCursor);
  update();
}

void TokenPopover::mousePressEvent(QMouseEvent* event) {
  const int row = rowAt(event->pos());
  if (row < 0 || !facts_.canBranch) return;
  hide();
  emit branchRequested(facts_.position, facts_.alternatives[std::size_t(row)].token);
}

void TokenPopover::enterEvent(QEnterEvent*) {
  hide_->stop();
}

void TokenPopover::leaveEvent(QEvent*) {
  hovered_ = -1;
  hideSoon();
}

}  // namespace eyrie::ui
