#include "app/gui/views.h"

#include <QVBoxLayout>

#include "ui/inspect/inspector_widget.h"
#include "ui/timeline/timeline_widget.h"

namespace eyrie::app {

Views makeViews(ui::InspectedRun* run, ui::Selection* selection, QWidget* parent,
                std::function<void(int view)> exportRequested) {
  auto* pane = new QWidget(parent);
  auto* inspector = new ui::InspectorWidget(pane);
  auto* hint = new ui::RereadHint(inspector, pane);
  auto* column = new QVBoxLayout(pane);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addWidget(hint);
  column->addWidget(inspector, 1);
  auto* timeline = new ui::TimelineWidget(parent);
  inspector->setRun(run);
  hint->setRun(run);
  inspector->setSelection(selection);
  timeline->setRun(run);
  timeline->setSelection(selection);
  inspector->setTimeRange(timeline->timeRange());
  QObject::connect(inspector, &ui::InspectorWidget::exportRequested, parent,
                   [exportRequested](ui::ViewKind kind) { exportRequested(int(kind)); });
  return {pane, inspector, hint, timeline};
}

QStringList viewNames(const Views& views) {
  return static_cast<ui::InspectorWidget*>(views.inspector)->viewNames() << QObject::tr("Timeline");
}

QString saveView(const Views& views, int view, const QString& file) {
  const bool timeline = view >= ui::kViewKinds;
  const bool good =
      timeline ? static_cast<ui::TimelineWidget*>(views.timeline)->exportView(file)
               : static_cast<ui::InspectorWidget*>(views.inspector)->exportView(ui::ViewKind(view), file);
  return good ? QString()
              : QObject::tr("%1 could not be written: is the folder writable and the disk not full?")
                    .arg(file);
}

}  // namespace eyrie::app
