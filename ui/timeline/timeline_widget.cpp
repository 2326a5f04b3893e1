#include "ui/timeline/timeline_widget.h"

#include <QKeyEvent>
#include <QMenu>
#include <QMouseEvent>
#include <QPainter>
#include <QTimer>
#include <QWheelEvent>
#include <cmath>

#include "ui/inspect/run_data.h"
#include "ui/plot/axis.h"
#include "ui/plot/painter_backend.h"

namespace eyrie::ui {
namespace {

constexpr int kLeastMillisecondsBetweenFrames = 16;
constexpr double kDragStarts = 4;
constexpr double kSide = 12;

double leastTop(TimelineQuantity quantity) {
  switch (quantity) {
    case TimelineQuantity::surprisal:
    case TimelineQuantity::entropy:
      return 8;
    default:
      return 1;
  }
}

}  // namespace

TimelineWidget::TimelineWidget(QWidget* parent) : QWidget(parent), own_(new TimeRange(this)) {
  setObjectName(QStringLiteral("timeline"));
  setAccessibleName(tr("Token timeline"));
  setAccessibleDescription(tr("One bar a token. Left and Right step, Home and End go to the ends."));
  setFocusPolicy(Qt::StrongFocus);
  setMouseTracking(true);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  setFixedHeight(metrics::kTimelineHeight);
  range_ = own_;
  pace_ = new QTimer(this);
  pace_->setSingleShot(true);
  pace_->setInterval(kLeastMillisecondsBetweenFrames);
  connect(pace_, &QTimer::timeout, this, qOverload<>(&QWidget::update));
  attach();
}

TimelineWidget::~TimelineWidget() {
  detach();
}

void TimelineWidget::detach() {
  for (QObject* object :
       {static_cast<QObject*>(run_), static_cast<QObject*>(selection_), static_cast<QObject*>(range_)})
    if (object) disconnect(object, nullptr, this, nullptr);
}

void TimelineWidget::attach() {
  if (run_) {
    connect(run_, &InspectedRun::traceChanged, this, [this] {
      range_->setSize(run_->trace.size());
      refresh();
    });
    connect(run_, &InspectedRun::modelChanged, this, [this] {
      lookedAt_ = 0;
      top_ = leastTop(quantity_);
      range_->setSize(run_->trace.size());
      refresh();
    });
  }
  if (selection_) {
    connect(selection_, &Selection::changed, this, [this] {
      range_->reveal(selection_->token());
      if (selection_->token() < 0) range_->follow();
      if (quantity_ == TimelineQuantity::stateNorm) lookedAt_ = 0;
      refresh();
    });
    connect(selection_, &Selection::hoverChanged, this, &TimelineWidget::refresh);
  }
  connect(range_, &TimeRange::changed, this, &TimelineWidget::refresh);
}

void TimelineWidget::setRun(InspectedRun* run) {
  detach();
  run_ = run;
  attach();
  lookedAt_ = 0;
  top_ = leastTop(quantity_);
  range_->setSize(run_ ? run_->trace.size() : 0);
  refresh();
}

void TimelineWidget::setSelection(Selection* selection) {
  detach();
  selection_ = selection;
  attach();
  refresh();
}

void TimelineWidget::setTimeRange(TimeRange* range) {
  detach();
  range_ = range ? range : own_;
  attach();
  if (run_) range_->setSize(run_->trace.size());
  refresh();
}

void TimelineWidget::setQuantity(TimelineQuantity quantity) {
  if (quantity == quantity_) return;
  quantity_ = quantity;
  lookedAt_ = 0;
  top_ = leastTop(quantity);
  refresh();
  emit quantityChanged();
}

void TimelineWidget::refresh() {
  if (!pace_->isActive()) pace_->start();
}

void TimelineWidget::growTop() {
  if (!run_ || !selection_) return;
  const std::int64_t size = run_->trace.size();
  if (size < lookedAt_) lookedAt_ = 0;
  for (std::int64_t t = std::max<std::int64_t>(0, lookedAt_ - 64); t < size; ++t) {
    const double value = timelineValue(*run_, *selection_, quantity_, t);
    if (value > top_ && std::isfinite(value)) top_ = std::max(top_, steppedTop(value));
  }
  lookedAt_ = size;
}

void TimelineWidget::paintEvent(QPaintEvent*) {
  static const InspectedRun kNoRun;
  static const Selection kNoSelection;
  growTop();
  const Theme& theme = Theme::current();
  QPainter painter(this);
  painter.fillRect(rect(), theme.panel);
  const TimelineInput input{run_ ? *run_ : kNoRun,
                            selection_ ? *selection_ : kNoSelection,
                            QSizeF(size()),
                            theme,
                            range_->span(),
                            quantity_,
                            top_};
  paintDrawList(painter, prepareTimeline(input));
  DrawList overlay;
  overlay.horizontal(0, 0, width(), theme.line);
  if (ring_ && hasFocus()) overlay.frame(QRectF(rect()).adjusted(2, 2, -2, -2), theme.accent, 4);
  const Hover hover = hoverAt(pointer_);
  if (!hover.readOut.isEmpty() && !down_) {
    const double wide = textWidth(hover.readOut, TextRole::secondary) + 16;
    QRectF box(pointer_.x() + 12, pointer_.y() - 26, wide, 22);
    box.moveLeft(std::clamp(box.left(), 4.0, std::max(4.0, width() - wide - 4)));
    box.moveTop(std::clamp(box.top(), 2.0, height() - 24.0));
    overlay.rect(box, theme.panel, metrics::kControlRadius, theme.line);
    overlay.text({box.left() + 8, box.center().y()}, hover.readOut, theme.text);
  }
  paintDrawList(painter, overlay);
}

Hover TimelineWidget::hoverAt(QPointF place) const {
  if (!run_ || !selection_ || !QRectF(rect()).contains(place)) return {};
  const DrawList list = prepareTimeline(
      {*run_, *selection_, QSizeF(size()), Theme::current(), range_->span(), quantity_, top_});
  const Region* region = list.regionAt(place);
  return region ? region->at(place) : Hover{};
}

void TimelineWidget::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton) return QWidget::mousePressEvent(event);
  pressed_ = event->position();
  travelledFrom_ = range_->span().first;
  down_ = true;
  dragging_ = false;
}

void TimelineWidget::mouseMoveEvent(QMouseEvent* event) {
  pointer_ = event->position();
  if (down_ && (dragging_ || std::abs(pointer_.x() - pressed_.x()) > kDragStarts)) {
    dragging_ = true;
    setCursor(Qt::ClosedHandCursor);
    const double perPixel = range_->span().count / std::max(1.0, width() - 2 * kSide);
    range_->travel(travelledFrom_ - (pointer_.x() - pressed_.x()) * perPixel - range_->span().first);
  }
  if (selection_) selection_->hoverToken(hoverAt(pointer_).token);
  refresh();
}

void TimelineWidget::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton) return QWidget::mouseReleaseEvent(event);
  const bool clicked = down_ && !dragging_;
  down_ = dragging_ = false;
  unsetCursor();
  refresh();
  if (!clicked || !selection_) return;
  const Action action = hoverAt(event->position()).click;
  if (action.kind == ActionKind::selectToken) selection_->selectToken(action.value);
  if (action.kind == ActionKind::setQuantity) chooseQuantity();
}

void TimelineWidget::mouseDoubleClickEvent(QMouseEvent*) {
  range_->showAll();
}

void TimelineWidget::leaveEvent(QEvent*) {
  pointer_ = {-1, -1};
  if (selection_) selection_->hoverToken(-1);
  refresh();
}

void TimelineWidget::wheelEvent(QWheelEvent* event) {
  const QPointF pixels =
      event->pixelDelta().isNull() ? QPointF(event->angleDelta()) / 120 : QPointF(event->pixelDelta()) / 60;
  const TimeSpan span = range_->span();
  const double across = std::max(1.0, width() - 2 * kSide);
  if (std::abs(pixels.x()) > std::abs(pixels.y()) || event->modifiers().testFlag(Qt::ShiftModifier)) {
    range_->travel(-(pixels.x() + pixels.y()) * span.count / 10);
  } else {
    const double step = event->modifiers().testFlag(Qt::ControlModifier) ? 0.95 : 0.8;
    range_->zoom(std::pow(step, pixels.y()),
                 span.first + (event->position().x() - kSide) / across * span.count);
  }
  event->accept();
}

void TimelineWidget::keyPressEvent(QKeyEvent* event) {
  if (!run_ || !selection_ || run_->trace.size() == 0) return QWidget::keyPressEvent(event);
  const std::int64_t last = run_->trace.size() - 1;
  const std::int64_t token = shownToken(*run_, *selection_);
  const std::int64_t step = event->modifiers().testFlag(Qt::ShiftModifier) ? 10 : 1;
  const auto turn = [&](int by) {
    setQuantity(static_cast<TimelineQuantity>((static_cast<int>(quantity_) + by + kTimelineQuantities) %
                                              kTimelineQuantities));
  };
  switch (event->key()) {
    case Qt::Key_Left:
      return selection_->selectToken(std::max<std::int64_t>(0, token - step));
    case Qt::Key_Right:
      return selection_->selectToken(std::min(last, token + step));
    case Qt::Key_Home:
      return selection_->selectToken(0);
    case Qt::Key_End:
      return selection_->selectToken(-1);
    case Qt::Key_Up:
      return turn(-1);
    case Qt::Key_Down:
      return turn(1);
    case Qt::Key_W:
      return range_->zoom(0.8, static_cast<double>(token));
    case Qt::Key_S:
      return range_->zoom(1.25, static_cast<double>(token));
    case Qt::Key_A:
      return range_->travel(-range_->span().count / 10);
    case Qt::Key_D:
      return range_->travel(range_->span().count / 10);
    default:
      return QWidget::keyPressEvent(event);
  }
}

void TimelineWidget::chooseQuantity() {
  QMenu menu(this);
  for (int i = 0; i < kTimelineQuantities; ++i) {
    const auto quantity = static_cast<TimelineQuantity>(i);
    QAction* action =
        menu.addAction(timelineQuantityName(quantity), this, [this, quantity] { setQuantity(quantity); });
    action->setCheckable(true);
    action->setChecked(quantity == quantity_);
  }
  menu.exec(mapToGlobal(QPoint(kSide, 24)));
}

bool TimelineWidget::exportView(const QString& file) {
  if (!run_ || !selection_) return false;
  growTop();
  const Theme& theme = Theme::current();
  return saveDrawList(
      prepareTimeline({*run_, *selection_, QSizeF(size()), theme, range_->span(), quantity_, top_, false}),
      theme, file);
}

void TimelineWidget::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange || event->type() == QEvent::StyleChange ||
      event->type() == QEvent::LanguageChange)
    refresh();
}

void TimelineWidget::focusInEvent(QFocusEvent* event) {
  QWidget::focusInEvent(event);
  ring_ = event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason ||
          event->reason() == Qt::ShortcutFocusReason;
  refresh();
}

void TimelineWidget::focusOutEvent(QFocusEvent* event) {
  QWidget::focusOutEvent(event);
  refresh();
}

}  // namespace eyrie::ui
