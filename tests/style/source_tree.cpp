#include "tests/style/source_tree.h"

#include <QDirIterator>
#include <QFile>
#include <QRegularExpression>

namespace eyrie::style {

QStringList filesIn(const QString& folder, const QStringList& endings) {
  const QDir root(QStringLiteral(EYRIE_SOURCE_DIR));
  QStringList patterns;
  for (const QString& ending : endings) patterns += "*." + ending;
  QDirIterator entries(root.filePath(folder), patterns, QDir::Files, QDirIterator::Subdirectories);
  QStringList files;
  while (entries.hasNext()) files += root.relativeFilePath(entries.next());
  files.sort();
  return files;
}

QStringList linesOf(const QString& file) {
  QFile source(QDir(QStringLiteral(EYRIE_SOURCE_DIR)).filePath(file));
  if (!source.open(QIODevice::ReadOnly)) return {};
  QStringList lines = QString::fromUtf8(source.readAll()).split('\n');
  if (!lines.isEmpty() && lines.last().isEmpty()) lines.removeLast();
  return lines;
}

QVector<Include> includesOf(const QStringList& lines) {
  static const QRegularExpression pattern(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  QVector<Include> includes;
  for (int i = 0; i < lines.size(); ++i) {
    const auto match = pattern.match(lines[i]);
    if (match.hasMatch()) includes.append({i + 1, match.captured(2), match.captured(1) == "\""});
  }
  return includes;
}

}  // namespace eyrie::style
