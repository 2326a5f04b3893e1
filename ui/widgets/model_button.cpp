#include "ui/widgets/model_button.h"

#include <QPainter>
#include <QStyleOptionButton>
#include <QStylePainter>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {
constexpr int kLeft = 28;
constexpr int kBetween = 8;
constexpr int kRight = 26;
constexpr int kMostFacts = 220;
}  // namespace

bool looksLikeHawk(const QString& pattern) {
  return !pattern.isEmpty() && !pattern.contains(QLatin1Char('A')) && !pattern.contains(QLatin1Char('G'));
}

ModelButton::ModelButton(QWidget* parent) : QPushButton(parent) {
  setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
  setModel(tr("No model"), {}, false);
}

void ModelButton::setModel(const QString& name, const QString& facts, bool isHawk) {
  name_ = name;
  facts_ = facts;
  isHawk_ = isHawk;
  setAccessibleName(tr("Model: %1 %2").arg(name, facts));
  setToolTip(tr("%1 %2\nClick to choose a model (Ctrl+M), Ctrl+O opens a folder").arg(name, facts));
  updateGeometry();
  update();
}

void ModelButton::setProgress(double fraction) {
  progress_ = fraction;
  update();
}

QSize ModelButton::sizeHint() const {
  const int name = QFontMetrics(themeFont(TextRole::title)).horizontalAdvance(name_);
  const int facts = std::min(kMostFacts, QFontMetrics(themeFont(TextRole::body)).horizontalAdvance(facts_));
  return {kLeft + name + (facts ? kBetween + facts : 0) + kRight + 2, metrics::kControlHeight};
}

void ModelButton::paintEvent(QPaintEvent*) {
  const Theme& theme = Theme::current();
  QStylePainter painter(this);
  QStyleOptionButton option;
  initStyleOption(&option);
  option.text.clear();
  option.features &= ~QStyleOptionButton::HasMenu;
  painter.drawControl(QStyle::CE_PushButton, option);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(Qt::NoPen);
  painter.setBrush(theme.model(isHawk_));
  painter.drawEllipse(QPointF(16, height() / 2.0), 4, 4);
  painter.setFont(themeFont(TextRole::title));
  painter.setPen(theme.text);
  QRect room(kLeft, 0, width() - kLeft - kRight, height());
  painter.drawText(room, Qt::AlignLeft | Qt::AlignVCenter, name_);
  room.setLeft(room.left() + painter.fontMetrics().horizontalAdvance(name_) + kBetween);
  painter.setFont(themeFont(TextRole::body));
  painter.setPen(theme.dim);
  painter.drawText(room, Qt::AlignLeft | Qt::AlignVCenter,
                   painter.fontMetrics().elidedText(facts_, Qt::ElideRight, room.width() + 4));
  const double x = width() - 16;
  const double y = height() / 2.0;
  painter.setPen(QPen(theme.dim, 1.4, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
  painter.drawPolyline(QPolygonF({{x - 3.5, y - 1.5}, {x, y + 2}, {x + 3.5, y - 1.5}}));
  if (progress_ < 0) return;
  painter.setPen(Qt::NoPen);
  painter.setBrush(theme.accent);
  painter.drawRoundedRect(QRectF(4, height() - 4, (width() - 8) * std::min(1.0, progress_), 2), 1, 1);
}

}  // namespace eyrie::ui
