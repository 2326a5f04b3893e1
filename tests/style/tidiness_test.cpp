// Sizes of files, and nothing in the tree that belongs to one machine only.
#include <QDirIterator>
#include <QFile>
#include <QRegularExpression>
#include <QTest>

#include "tests/style/source_tree.h"

using namespace eyrie::style;

namespace {

const QStringList kFolders = {"app", "engine", "kernels", "sessions", "ui", "tests"};

QStringList sources() {
  QStringList files;
  for (const QString& folder : kFolders) files += filesIn(folder, {"h", "cpp", "cu", "cuh"});
  return files;
}

// Everything of ours that is text, whoever reads it.
QStringList texts() {
  QStringList files = sources();
  for (const QString& folder : kFolders)
    files += filesIn(folder, {"txt", "md", "cmake", "sql", "in", "py", "ts"});
  files += filesIn("assets/recipe", {"py", "md", "cpp", "json", "toml"});
  files += filesIn("assets/models", {"md", "json"});
  files += filesIn("cmake", {"cmake", "sh", "txt"});
  files += QStringList{"CMakeLists.txt", "CMakePresets.json", "README.md", "run", "test", ".ci/run"};
  return files;
}

}  // namespace

class TidinessTest : public QObject {
  Q_OBJECT

 private slots:
  void filesAreShort();
  void headersAreGuarded();
  void nothingNamesOneMachine();
  void shippedFilesNameNoMachine();
  void namesAreSnakeCase();
};

void TidinessTest::filesAreShort() {
  constexpr int kSoft = 400;
  constexpr int kHard = 600;
  QStringList tooLong;
  for (const QString& file : sources()) {
    const auto count = linesOf(file).size();
    const QString line = QString("%1: %2 lines").arg(file).arg(count);
    if (count > kHard) tooLong += line;
    if (count > kSoft) qInfo("%s (more than %d)", qPrintable(line), kSoft);
  }
  QVERIFY2(tooLong.isEmpty(), qPrintable("more than 600 lines:\n" + tooLong.join('\n')));
}

void TidinessTest::headersAreGuarded() {
  QStringList bare;
  for (const QString& file : sources()) {
    // Highway's "-inl.h" files are included once for each instruction set.
    if (!file.endsWith(".h") || file.endsWith("-inl.h")) continue;
    if (!linesOf(file).contains("#pragma once")) bare += file;
  }
  QVERIFY2(bare.isEmpty(), qPrintable("without #pragma once:\n" + bare.join('\n')));
}

void TidinessTest::nothingNamesOneMachine() {
  // Put together here, so that this file does not find itself.
  const QString slash = "/";
  const QRegularExpression local("(^|[\\s\"'(=:])" + slash + "(work|root)" + slash);
  // Addresses without a domain, or by number: a mirror or proxy of somebody's network.
  const QRegularExpression host("https?://(\\d+\\.\\d+\\.\\d+\\.\\d+|localhost|[A-Za-z0-9-]+)(:\\d+)?" +
                                slash);
  QStringList found;
  for (const QString& file : texts()) {
    const QStringList lines = linesOf(file);
    for (int i = 0; i < lines.size(); ++i) {
      if (local.match(lines[i]).hasMatch() || host.match(lines[i]).hasMatch()) {
        found += QString("%1:%2: %3").arg(file).arg(i + 1).arg(lines[i].trimmed().left(120));
      }
    }
  }
  QVERIFY2(found.isEmpty(), qPrintable("\n" + found.join('\n')));
}

void TidinessTest::shippedFilesNameNoMachine() {
  // Whole files, binary ones too: a trainer likes to write its own paths into what it saves.
  QStringList found;
  int count = 0;
  QDirIterator files(EYRIE_SOURCE_DIR "/assets/models", QDir::Files, QDirIterator::Subdirectories);
  while (files.hasNext()) {
    QFile file(files.next());
    QVERIFY2(file.open(QIODevice::ReadOnly), qPrintable(file.fileName()));
    const QByteArray bytes = file.readAll();
    ++count;
    for (const char* folder : {"root", "work", "home", "tmp"}) {
      const qsizetype at = bytes.indexOf(QByteArray("/") + folder + "/");
      if (at >= 0) found += QString("%1: /%2/ at byte %3").arg(file.fileName(), folder).arg(at);
    }
  }
  QVERIFY(count > 0);
  QVERIFY2(found.isEmpty(), qPrintable("\n" + found.join('\n')));
}

void TidinessTest::namesAreSnakeCase() {
  const QRegularExpression snake("^[a-z0-9_]+(-inl)?\\.[a-z]+$");
  QStringList found;
  for (const QString& file : sources()) {
    if (!snake.match(file.section('/', -1)).hasMatch()) found += file;
  }
  QVERIFY2(found.isEmpty(), qPrintable("\n" + found.join('\n')));
}

QTEST_GUILESS_MAIN(TidinessTest)
#include "tidiness_test.moc"
