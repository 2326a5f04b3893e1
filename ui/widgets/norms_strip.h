// State norms per layer as thin lines, newest at the right: the slim strip beside the chat and under a
// Compare lane. Painted by Qt; the full view is the inspector's.
#pragma once

#include <QPointer>
#include <QWidget>

#include "ui/inspect/inspected_run.h"
#include "ui/selection.h"

namespace eyrie::ui {

class NormsStrip final : public QWidget {
  Q_OBJECT
 public:
  explicit NormsStrip(QWidget* parent = nullptr);

  void setRun(InspectedRun* run);
  void setSelection(Selection* selection);
  void setVertical(bool vertical);  // one small plot a layer, stacked; else all in one plot
  // Both lanes of Compare on the same scale.
  void setCommonMaximum(double maximum);
  double maximum() const { return maximum_; }

 signals:
  void clicked();
  void maximumChanged();

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  void grow();
  void drawLine(QPainter& painter, const engine::TraceColumn& column, const QRectF& area,
                const QColor& colour) const;

  QPointer<InspectedRun> run_;
  QPointer<Selection> selection_;
  bool vertical_ = false;
  double maximum_ = 1;  // grows in steps, never shrinks while a run lasts
  double common_ = 0;
  std::int64_t seen_ = 0;
};

}  // namespace eyrie::ui
