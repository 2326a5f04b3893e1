#include "ui/widgets/drop_overlay.h"

#include <QPainter>

#include "ui/theme/theme.h"

namespace eyrie::ui {

DropOverlay::DropOverlay(QWidget* window) : QWidget(window) {
  setObjectName(QStringLiteral("dropOverlay"));
  setAttribute(Qt::WA_TransparentForMouseEvents);
  hide();
}

void DropOverlay::showText(const QString& text) {
  text_ = text;
  setGeometry(parentWidget()->rect());
  show();
  raise();
  update();
}

void DropOverlay::paintEvent(QPaintEvent*) {
  const Theme& theme = Theme::current();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  QColor veil = theme.window;
  veil.setAlpha(215);
  painter.fillRect(rect(), veil);
  painter.setPen(QPen(theme.accent, 2, Qt::DashLine));
  painter.setBrush(Qt::NoBrush);
  painter.drawRoundedRect(QRectF(rect()).adjusted(24, 24, -24, -24), 12, 12);
  painter.setFont(themeFont(TextRole::title));
  painter.setPen(theme.accent);
  painter.drawText(rect(), Qt::AlignCenter, text_);
}

}  // namespace eyrie::ui
