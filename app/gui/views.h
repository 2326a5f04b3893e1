// The inspector and the timeline, made and connected; kept apart so that the window knows them as widgets.
#pragma once

#include <QString>
#include <QStringList>
#include <QWidget>
#include <functional>

#include "ui/inspect/inspected_run.h"
#include "ui/inspect/reread_hint.h"
#include "ui/selection.h"

namespace eyrie::app {

struct Views {
  QWidget* pane = nullptr;  // the inspector under its hint: what goes into the window
  QWidget* inspector = nullptr;
  ui::RereadHint* hint = nullptr;
  QWidget* timeline = nullptr;
};

// Both show the same stretch of tokens. `exportRequested` gets the number of the view whose picture is
// wanted.
Views makeViews(ui::InspectedRun* run, ui::Selection* selection, QWidget* parent,
                std::function<void(int view)> exportRequested);
// Every view that can be saved as a picture; the timeline is the last.
QStringList viewNames(const Views& views);
// PNG or SVG by the file's ending. Returns what went wrong; empty: written.
QString saveView(const Views& views, int view, const QString& file);

}  // namespace eyrie::app
