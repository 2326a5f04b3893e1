// The name of a group of entries: a style sheet leaves only a line of QMenu's own sections.
#pragma once

#include <QLabel>
#include <QMenu>
#include <QWidgetAction>

namespace eyrie::app {

inline void addHeading(QMenu* menu, const QString& text) {
  if (!menu->isEmpty()) menu->addSeparator();
  auto* label = new QLabel(text, menu);
  label->setProperty("role", QStringLiteral("secondary"));
  label->setContentsMargins(12, 4, 12, 2);
  auto* heading = new QWidgetAction(menu);
  heading->setDefaultWidget(label);
  heading->setEnabled(false);
  menu->addAction(heading);
}

}  // namespace eyrie::app
