// The token timeline along the bottom: one bar a token, the common selection, the common stretch of tokens.
// GUI thread only.
//
// Wheel zooms, drag travels, click selects; Left and Right step by one, with Shift by ten, Home and End go to
// the first and the newest (which is then followed), Up and Down change the quantity.
#pragma once

#include <QPointer>
#include <QWidget>
#include <vector>

#include "ui/inspect/inspected_run.h"
#include "ui/plot/draw_list.h"
#include "ui/selection.h"
#include "ui/timeline/time_range.h"

class QTimer;

namespace eyrie::ui {

enum class TimelineQuantity { surprisal, entropy, stateNorm, milliseconds };
inline constexpr int kTimelineQuantities = 4;
QString timelineQuantityName(TimelineQuantity quantity);

// The picture, without a window. `top` is the value a full bar stands for.
struct TimelineInput {
  const InspectedRun& run;
  const Selection& selection;
  QSizeF size;
  const Theme& theme;
  TimeSpan time;
  TimelineQuantity quantity = TimelineQuantity::surprisal;
  double top = 8;
  bool interactive = true;
};
DrawList prepareTimeline(const TimelineInput& input);
// Of one token; NaN where unknown. Surprisal and entropy in bits.
double timelineValue(const InspectedRun& run, const Selection& selection, TimelineQuantity quantity,
                     std::int64_t token);
QString timelineReadOut(const InspectedRun& run, const Selection& selection, std::int64_t token);

class TimelineWidget final : public QWidget {
  Q_OBJECT
 public:
  explicit TimelineWidget(QWidget* parent = nullptr);
  ~TimelineWidget() override;

  void setRun(InspectedRun* run);
  void setSelection(Selection* selection);
  // This widget's own; give it to the inspector as well. For Compare lanes one may be shared instead.
  TimeRange* timeRange() const { return range_; }
  void setTimeRange(TimeRange* range);
  TimelineQuantity quantity() const { return quantity_; }
  void setQuantity(TimelineQuantity quantity);
  bool exportView(const QString& file);

  QSize sizeHint() const override { return {800, metrics::kTimelineHeight}; }
  QSize minimumSizeHint() const override { return {200, metrics::kTimelineHeight}; }

 signals:
  void quantityChanged();

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void changeEvent(QEvent* event) override;
  void focusInEvent(QFocusEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  void attach();
  void detach();
  void refresh();
  void growTop();
  Hover hoverAt(QPointF place) const;
  void chooseQuantity();

  QPointer<InspectedRun> run_;
  QPointer<Selection> selection_;
  QPointer<TimeRange> range_;
  TimeRange* own_ = nullptr;
  QTimer* pace_ = nullptr;
  TimelineQuantity quantity_ = TimelineQuantity::surprisal;
  double top_ = 8;
  std::int64_t lookedAt_ = 0;  // tokens whose height top_ covers
  QPointF pressed_;
  QPointF pointer_{-1, -1};
  double travelledFrom_ = 0;
  bool dragging_ = false;
  bool down_ = false;
  bool ring_ = false;  // the keyboard brought the focus here
};

}  // namespace eyrie::ui
