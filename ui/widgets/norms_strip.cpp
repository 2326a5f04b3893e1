#include "ui/widgets/norms_strip.h"

#include <QKeyEvent>
#include <QLocale>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <cmath>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {

std::vector<const engine::TraceColumn*> normColumns(const InspectedRun* run) {
  std::vector<const engine::TraceColumn*> columns;
  if (!run) return columns;
  for (const engine::TraceColumn& column : run->trace.layout().columns()) {
    if (column.quantity == engine::Quantity::stateNorm) columns.push_back(&column);
  }
  return columns;
}

// 1, 2, 5, 10, 20 …: the axis grows in steps instead of breathing.
double stepAbove(double value) {
  double step = 1;
  for (int i = 0; step < value && i < 60; ++i) step *= (i % 3 == 1) ? 2.5 : 2;
  return step;
}

}  // namespace

NormsStrip::NormsStrip(QWidget* parent) : QWidget(parent) {
  setObjectName(QStringLiteral("normsStrip"));
  setFocusPolicy(Qt::TabFocus);
  setCursor(Qt::PointingHandCursor);
  setAccessibleName(tr("State norms per layer"));
  setToolTip(tr("Length of each layer's state, token by token. Click to inspect"));
}

void NormsStrip::setRun(InspectedRun* run) {
  run_ = run;
  connect(run, &InspectedRun::traceChanged, this, &NormsStrip::grow);
  connect(run, &InspectedRun::modelChanged, this, [this] {
    maximum_ = 1;
    seen_ = 0;
    update();
  });
}

void NormsStrip::setSelection(Selection* selection) {
  selection_ = selection;
  connect(selection, &Selection::changed, this, qOverload<>(&QWidget::update));
}

void NormsStrip::setVertical(bool vertical) {
  vertical_ = vertical;
  update();
}

void NormsStrip::setCommonMaximum(double maximum) {
  common_ = maximum;
  update();
}

void NormsStrip::grow() {
  double most = maximum_;
  const std::int64_t size = run_->trace.size();
  if (size < seen_) seen_ = 0;
  for (const engine::TraceColumn* column : normColumns(run_)) {
    for (std::int64_t t = seen_; t < size; ++t) {
      const float value = run_->trace.value(*column, t);
      if (std::isfinite(value)) most = std::max(most, double(value));
    }
  }
  seen_ = std::max<std::int64_t>(0, size - 1);
  if (most > maximum_) {
    maximum_ = stepAbove(most);
    emit maximumChanged();
  }
  update();
}

void NormsStrip::drawLine(QPainter& painter, const engine::TraceColumn& column, const QRectF& area,
                          const QColor& colour) const {
  const std::int64_t size = run_->trace.size();
  const double top = common_ > 0 ? common_ : maximum_;
  // At most one point a pixel: the largest of those that fall on it, so that no peak is lost.
  const std::int64_t points = std::min<std::int64_t>(size, std::max(2, int(area.width())));
  QPainterPath path;
  bool pen = false;
  for (std::int64_t i = 0; i < points; ++i) {
    float most = NAN;
    for (std::int64_t t = i * size / points; t < (i + 1) * size / points; ++t) {
      const float value = run_->trace.value(column, t);
      if (!(value <= most)) most = std::isnan(value) ? most : value;
    }
    if (std::isnan(most)) {
      pen = false;
      continue;
    }
    const double x =
        area.left() + area.width() * (double(i) + 0.5) / double(std::max<std::int64_t>(points, 1));
    const QPointF at(x, area.bottom() - area.height() * std::min(1.0, double(most) / top));
    pen ? path.lineTo(at) : path.moveTo(at);
    pen = true;
  }
  painter.setPen(QPen(colour, 1.2));
  painter.setBrush(Qt::NoBrush);
  painter.drawPath(path);
}

void NormsStrip::paintEvent(QPaintEvent*) {
  const Theme& theme = Theme::current();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(themeFont(TextRole::secondary));
  const auto columns = normColumns(run_);
  const bool read = run_ && run_->trace.size() > 0;
  const bool recorded = read && run_->trace.droppedFrames() < run_->trace.size();
  painter.setPen(theme.dim);
  if (!recorded || columns.empty()) {
    const QString text =
        read && columns.empty() ? tr("No state norms: tracing is off or the model has no recurrent layer")
        : read && vertical_     ? tr("State norms were not kept. Click to inspect and read the text again")
        : read                  ? tr("State norms were not kept")
                                : tr("State norms appear here when the model reads");
    painter.drawText(rect().adjusted(6, 6, -6, -6), Qt::AlignTop | Qt::AlignLeft | Qt::TextWordWrap, text);
    return;
  }
  const double top = common_ > 0 ? common_ : maximum_;
  const int count = int(columns.size());
  const int labels = vertical_ ? 0 : 58;
  for (int i = 0; i < count; ++i) {
    const double share = double(height() - 22) / count;
    const QRectF area = vertical_ ? QRectF(4, 22 + share * i + 14, width() - 8, share - 20)
                                  : QRectF(34, 8, width() - 40 - labels, height() - 16);
    const QColor colour = theme.series(i, count);
    if (vertical_ || i == 0) {
      painter.setPen(QPen(theme.line, 1));
      painter.drawLine(area.bottomLeft(), area.bottomRight());
    }
    drawLine(painter, *columns[std::size_t(i)], area, colour);
    painter.setPen(colour);
    const QString label = tr("layer %1").arg(columns[std::size_t(i)]->layerIdx);
    const float last = run_->trace.value(*columns[std::size_t(i)], run_->trace.size() - 1);
    if (vertical_) {
      const QString number = std::isfinite(last) ? QLocale().toString(double(last), 'f', 1) : QString();
      painter.drawText(QRectF(4, area.top() - 15, width() - 8, 14), Qt::AlignLeft, label);
      painter.setPen(theme.dim);
      painter.drawText(QRectF(4, area.top() - 15, width() - 8, 14), Qt::AlignRight, number);
    } else {
      painter.drawText(QRectF(width() - labels, 6 + i * 14, labels, 14), Qt::AlignLeft, label);
    }
  }
  painter.setPen(theme.dim);
  if (vertical_) {
    painter.drawText(QRectF(4, 2, width() - 8, 16), Qt::AlignLeft, tr("State norm"));
    return;
  }
  painter.drawText(QRectF(0, 4, 30, 14), Qt::AlignRight, QLocale().toString(top, 'g', 4));
  painter.drawText(QRectF(0, height() - 16, 30, 14), Qt::AlignRight, QStringLiteral("0"));
}

void NormsStrip::mouseReleaseEvent(QMouseEvent* event) {
  if (rect().contains(event->pos())) emit clicked();
}

void NormsStrip::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Return || event->key() == Qt::Key_Space) return emit clicked();
  QWidget::keyPressEvent(event);
}

}  // namespace eyrie::ui
