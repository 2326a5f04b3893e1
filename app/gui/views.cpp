#include "app/gui/views.h"

#include <QFileInfo>
#include <QLabel>
#include <QVBoxLayout>

#if __has_include("ui/inspect/inspector_widget.cpp")
#include "ui/inspect/inspector_widget.h"
#endif
#if __has_include("ui/timeline/timeline_widget.cpp")
#include "ui/timeline/timeline_widget.h"
#endif

namespace eyrie::app {

QWidget* makeInspector(ui::InspectedRun* run, ui::Selection* selection, QWidget* parent) {
#if __has_include("ui/inspect/inspector_widget.cpp")
  auto* inspector = new ui::InspectorWidget(parent);
  inspector->setRun(run);
  inspector->setSelection(selection);
  return inspector;
#else
  Q_UNUSED(run)
  Q_UNUSED(selection)
  return new QLabel(QObject::tr("This build has no inspector."), parent);
#endif
}

QWidget* makeTimeline(ui::InspectedRun* run, ui::Selection* selection, QWidget* parent) {
#if __has_include("ui/timeline/timeline_widget.cpp")
  auto* timeline = new ui::TimelineWidget(parent);
  timeline->setRun(run);
  timeline->setSelection(selection);
  return timeline;
#else
  Q_UNUSED(run)
  Q_UNUSED(selection)
  return new QLabel(QObject::tr("This build has no timeline."), parent);
#endif
}

QString saveView(QWidget* inspector, const QString& file) {
  Q_UNUSED(inspector)
  return QObject::tr("%1 was not written: this build has no inspector.").arg(file);
}

}  // namespace eyrie::app
