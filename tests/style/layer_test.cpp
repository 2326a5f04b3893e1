// Arrows only point down: what each layer may include (DESIGN §1).
#include <QRegularExpression>
#include <QTest>

#include "tests/style/source_tree.h"

using namespace eyrie::style;

namespace {

const QString kQt = "^Q[A-Z]|^Qt|^qt|^ui_";
const QString kImGui = "imgui";
const QString kSqlite = "[sS][qQ][lL]ite";

struct Layer {
  QString folder;
  QStringList ours;  // layers it may include
  QString foreign;   // libraries it may not
};

// The libraries `layer` may not use that a line names, or the layer it may not know; empty: nothing wrong.
QString complaint(const Layer& layer, const Include& include) {
  static const QStringList all = {"kernels", "engine", "sessions", "ui", "app", "tests"};
  const QRegularExpression foreign(layer.foreign);
  if (!layer.foreign.isEmpty() && foreign.match(include.file).hasMatch()) return "a library it may not know";
  const QString first = include.file.section('/', 0, 0);
  if (all.contains(first) && include.file.contains('/')) {
    return layer.ours.contains(first) ? QString() : "a layer it may not know";
  }
  // Highway's own examples quote its files; it includes one of ours again for each instruction set.
  const bool ours = include.quoted && first != "hwy";
  return ours ? "a path that does not start at the root" : QString();
}

QStringList complaintsOf(const Layer& layer) {
  QStringList found;
  for (const QString& file : filesIn(layer.folder, {"h", "cpp", "cu", "cuh", "in"})) {
    for (const Include& include : includesOf(linesOf(file))) {
      const QString what = complaint(layer, include);
      if (what.isEmpty() || include.file.endsWith(".moc")) continue;
      found += QString("%1:%2 includes %3: %4").arg(file).arg(include.line).arg(include.file, what);
    }
  }
  return found;
}

}  // namespace

class LayerTest : public QObject {
  Q_OBJECT

 private slots:
  void includesOnlyPointDown_data();
  void includesOnlyPointDown();
  void ruleRejectsWhatItShould_data();
  void ruleRejectsWhatItShould();

 private:
  static Layer layerOf(const QString& folder);
};

Layer LayerTest::layerOf(const QString& folder) {
  const QString none = kQt + "|" + kImGui + "|" + kSqlite;
  if (folder == "kernels") return {folder, {"kernels"}, none};
  if (folder == "engine") return {folder, {"engine", "kernels"}, none};
  if (folder == "sessions") return {folder, {"sessions", "engine"}, kQt + "|" + kImGui};
  if (folder == "ui") return {folder, {"ui", "engine"}, kSqlite};
  return {folder, {"app", "ui", "sessions", "engine", "kernels"}, kSqlite};
}

void LayerTest::includesOnlyPointDown_data() {
  QTest::addColumn<QString>("folder");
  for (const char* folder : {"kernels", "engine", "sessions", "ui", "app"}) {
    QTest::newRow(folder) << QString(folder);
  }
}

void LayerTest::includesOnlyPointDown() {
  QFETCH(QString, folder);
  QVERIFY2(!filesIn(folder, {"h"}).isEmpty(), "no headers: is the folder still there?");
  const QStringList found = complaintsOf(layerOf(folder));
  QVERIFY2(found.isEmpty(), qPrintable("\n" + found.join('\n')));
}

void LayerTest::ruleRejectsWhatItShould_data() {
  QTest::addColumn<QString>("folder");
  QTest::addColumn<QString>("line");
  QTest::addColumn<bool>("allowed");
  QTest::newRow("kernels: engine") << "kernels"
                                   << "#include \"engine/config.h\"" << false;
  QTest::newRow("kernels: Qt") << "kernels"
                               << "#include <QString>" << false;
  QTest::newRow("kernels: themselves") << "kernels"
                                       << "#include \"kernels/dtype.h\"" << true;
  QTest::newRow("kernels: relative path") << "kernels"
                                          << "#include \"dtype.h\"" << false;
  QTest::newRow("engine: SQLite") << "engine"
                                  << "  # include <sqlite3.h>" << false;
  QTest::newRow("engine: SQLiteCpp") << "engine"
                                     << "#include <SQLiteCpp/Database.h>" << false;
  QTest::newRow("engine: ImGui") << "engine"
                                 << "#include <imgui/imgui.h>" << false;
  QTest::newRow("engine: Qt Core") << "engine"
                                   << "#include <QtCore/qglobal.h>" << false;
  QTest::newRow("engine: standard") << "engine"
                                    << "#include <queue>" << true;
  QTest::newRow("sessions: ui") << "sessions"
                                << "#include \"ui/selection.h\"" << false;
  QTest::newRow("sessions: kernels") << "sessions"
                                     << "#include \"kernels/dtype.h\"" << false;
  QTest::newRow("ui: sessions") << "ui"
                                << "#include \"sessions/store/session_store.h\"" << false;
  QTest::newRow("ui: app") << "ui"
                           << "#include \"app/gui/main_window.h\"" << false;
  QTest::newRow("app: sessions") << "app"
                                 << "#include \"sessions/store/session_store.h\"" << true;
}

void LayerTest::ruleRejectsWhatItShould() {
  QFETCH(QString, folder);
  QFETCH(QString, line);
  QFETCH(bool, allowed);
  const auto includes = includesOf({line});
  QCOMPARE(includes.size(), 1);
  QCOMPARE(complaint(layerOf(folder), includes.first()).isEmpty(), allowed);
}

QTEST_GUILESS_MAIN(LayerTest)
#include "layer_test.moc"
