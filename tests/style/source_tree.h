// The source tree as the style tests read it.
#pragma once

#include <QString>
#include <QStringList>
#include <QVector>

namespace eyrie::style {

struct Include {
  int line = 0;
  QString file;         // what is included
  bool quoted = false;  // "…", not <…>
};

// Files below `folder` (from the root of the repository) with one of these endings, sorted; paths from the
// root.
QStringList filesIn(const QString& folder, const QStringList& endings);
QStringList linesOf(const QString& file);
QVector<Include> includesOf(const QStringList& lines);

}  // namespace eyrie::style
