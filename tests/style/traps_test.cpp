// The table of traps in tests/README.md: complete, and every test it names is there and names the trap.
#include <QMap>
#include <QRegularExpression>
#include <QSet>
#include <QTest>

#include "tests/style/source_tree.h"

using namespace eyrie::style;

namespace {

constexpr int kTraps = 48;

struct Row {
  QString what;
  QString tests;  // `file` name, name; `file` name
};

QMap<int, QVector<Row>> table() {
  const QRegularExpression row(R"(^\| (\d+) \| (.*) \| (.*)\|$)");
  QMap<int, QVector<Row>> rows;
  for (const QString& line : linesOf("tests/README.md")) {
    const QRegularExpressionMatch match = row.match(line);
    if (match.hasMatch())
      rows[match.captured(1).toInt()] += Row{match.captured(2), match.captured(3).trimmed()};
  }
  return rows;
}

// "trap 22", "traps 6, 23, 44", trap6And40…, trap33_…
QSet<int> trapsNamedIn(const QString& text) {
  static const QRegularExpression named(R"(traps?[ _]?(\d+(?:(?:, | and |And)\d+)*))",
                                        QRegularExpression::CaseInsensitiveOption);
  static const QRegularExpression number(R"(\d+)");
  QSet<int> traps;
  for (auto found = named.globalMatch(text); found.hasNext();) {
    const QString list = found.next().captured(1);
    for (auto each = number.globalMatch(list); each.hasNext();) traps += each.next().captured(0).toInt();
  }
  return traps;
}

}  // namespace

class TrapsTest : public QObject {
  Q_OBJECT

 private slots:
  void everyTrapIsInTheTableOnce();
  void everyNamedTestExistsAndNamesItsTrap_data();
  void everyNamedTestExistsAndNamesItsTrap();
  void everyTrapThatATestNamesIsInTheTable();
};

void TrapsTest::everyTrapIsInTheTableOnce() {
  const auto rows = table();
  for (int trap = 1; trap <= kTraps; ++trap) {
    QVERIFY2(rows.value(trap).size() == 1,
             qPrintable(QString("trap %1: %2 rows").arg(trap).arg(rows[trap].size())));
  }
  QCOMPARE(rows.size(), kTraps);
}

void TrapsTest::everyNamedTestExistsAndNamesItsTrap_data() {
  QTest::addColumn<int>("trap");
  for (int trap = 1; trap <= kTraps; ++trap) QTest::addRow("trap %d", trap) << trap;
}

void TrapsTest::everyNamedTestExistsAndNamesItsTrap() {
  QFETCH(int, trap);
  const QVector<Row> rows = table().value(trap);
  QVERIFY(!rows.isEmpty());
  if (rows[0].tests.isEmpty()) {
    QVERIFY2(rows[0].what.startsWith("not of this issue: "), "no test and no reason");
    return;
  }
  for (const QString& entry : rows[0].tests.split("; ")) {
    const QStringList parts = entry.split('`');
    QVERIFY2(parts.size() == 3, qPrintable("expected `file` names, found " + entry));
    const QString text = linesOf(parts[1]).join('\n');
    QVERIFY2(!text.isEmpty(), qPrintable(parts[1] + " is not there"));
    QVERIFY2(trapsNamedIn(text).contains(trap), qPrintable(parts[1] + " does not name the trap"));
    for (const QString& name : parts[2].trimmed().split(", ")) {
      const QRegularExpression function("\\b" + name + "\\(");
      QVERIFY2(function.match(text).hasMatch(), qPrintable(parts[1] + " has no " + name));
    }
  }
}

void TrapsTest::everyTrapThatATestNamesIsInTheTable() {
  const auto rows = table();
  for (const QString& file : filesIn("tests", {"cpp"}) + filesIn("engine/verify", {"cpp"})) {
    if (file.endsWith("traps_test.cpp")) continue;
    for (const int trap : trapsNamedIn(linesOf(file).join('\n'))) {
      QVERIFY2(rows.contains(trap) && !rows[trap][0].tests.isEmpty(),
               qPrintable(QString("%1 names trap %2, the table has no test of it").arg(file).arg(trap)));
    }
  }
}

QTEST_GUILESS_MAIN(TrapsTest)
#include "traps_test.moc"
