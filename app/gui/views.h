// The inspector and the timeline, made and connected; kept apart so that the window knows them as widgets.
#pragma once

#include <QString>
#include <QWidget>

#include "ui/inspect/inspected_run.h"
#include "ui/selection.h"

namespace eyrie::app {

QWidget* makeInspector(ui::InspectedRun* run, ui::Selection* selection, QWidget* parent);
QWidget* makeTimeline(ui::InspectedRun* run, ui::Selection* selection, QWidget* parent);
// PNG or SVG by the file's ending. Returns what went wrong; empty: written.
QString saveView(QWidget* inspector, const QString& file);

}  // namespace eyrie::app
