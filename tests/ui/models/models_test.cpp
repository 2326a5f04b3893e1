// The item models of the window, under Qt's own checker.
#include <QAbstractItemModelTester>
#include <QSignalSpy>
#include <QtTest>

#include "ui/chat/conversation.h"
#include "ui/models/conversation_model.h"
#include "ui/models/session_list_model.h"

using namespace eyrie;
using ui::Turn;
using ui::TurnId;

namespace {

Turn turnOf(engine::Role role, TurnId parent, const QString& text) {
  Turn turn;
  turn.role = role;
  turn.parent = parent;
  turn.text = text;
  return turn;
}

QStringList shown(const ui::ConversationModel& model) {
  QStringList texts;
  for (int row = 0; row < model.rowCount(); ++row) texts << model.index(row).data().toString();
  return texts;
}

ui::SessionEntry entryOf(std::int64_t id, const QString& title, const QDateTime& updated) {
  ui::SessionEntry entry;
  entry.id = id;
  entry.title = title;
  entry.models = {QStringLiteral("griffin")};
  entry.tokens = 195;
  entry.updated = updated;
  return entry;
}

}  // namespace

class ModelsTest : public QObject {
  Q_OBJECT
 private slots:
  void conversationFollowsItsPath() {
    ui::Conversation conversation;
    ui::ConversationModel model(&conversation);
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    const TurnId question = conversation.add(turnOf(engine::Role::user, 0, "a"));
    const TurnId reply = conversation.add(turnOf(engine::Role::model, question, "b"));
    QCOMPARE(shown(model), QStringList({"a", "b"}));
    const TurnId other = conversation.add(turnOf(engine::Role::model, question, "c"));
    QCOMPARE(shown(model), QStringList({"a", "c"}));
    QCOMPARE(model.index(1).data(ui::ConversationModel::SiblingRole).toInt(), 2);
    QCOMPARE(model.index(1).data(ui::ConversationModel::SiblingsRole).toInt(), 2);
    const TurnId next = conversation.add(turnOf(engine::Role::user, other, "d"));
    conversation.stepSibling(other, -1);
    QCOMPARE(conversation.leaf(), reply);
    QCOMPARE(shown(model), QStringList({"a", "b"}));
    conversation.stepSibling(reply, 1);
    QCOMPARE(conversation.leaf(), next);  // comes back to where one was
    conversation.stepSibling(other, 1);   // there is none: nothing changes
    QCOMPARE(shown(model), QStringList({"a", "c", "d"}));
    conversation.clear();
    QCOMPARE(model.rowCount(), 0);
  }

  void streamedTextReachesItsRowOnly() {
    ui::Conversation conversation;
    ui::ConversationModel model(&conversation);
    const TurnId question = conversation.add(turnOf(engine::Role::user, 0, "a"));
    const TurnId reply = conversation.add(turnOf(engine::Role::model, question, {}));
    QSignalSpy changed(&model, &QAbstractItemModel::dataChanged);
    conversation.appendText(reply, "Hel");
    conversation.appendText(reply, "lo");
    conversation.appendText(reply, {});  // nothing to say
    QCOMPARE(changed.size(), 2);
    QCOMPARE(changed.last().at(0).toModelIndex().row(), 1);
    QCOMPARE(model.index(1).data().toString(), QString("Hello"));
  }

  void recordsArePlacedByPosition() {
    ui::Conversation conversation;
    const TurnId reply = conversation.add(turnOf(engine::Role::model, 0, {}));
    engine::TokenRecord record;
    record.position = 12;
    record.token = 7;
    conversation.placeRecord(reply, record);  // not placed yet: ignored
    QVERIFY(conversation.turn(reply).tokens.empty());
    conversation.setFirstPosition(reply, 10);
    conversation.placeRecord(reply, record);
    QCOMPARE(conversation.turn(reply).tokens.size(), std::size_t(3));
    QCOMPARE(conversation.turn(reply).tokens[2].token, 7);
  }

  void restoreShowsThePathToTheLeaf() {
    ui::Conversation conversation;
    ui::ConversationModel model(&conversation);
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    std::vector<Turn> turns = {turnOf(engine::Role::user, 0, "a"), turnOf(engine::Role::model, 1, "b"),
                               turnOf(engine::Role::model, 1, "c")};
    for (std::size_t i = 0; i < turns.size(); ++i) turns[i].id = TurnId(i) + 1;
    conversation.restore(turns, 2);
    QCOMPARE(shown(model), QStringList({"a", "b"}));
    QCOMPARE(conversation.add(turnOf(engine::Role::user, 2, "d")), TurnId(4));
  }

  void sessionsStandUnderTheirDay() {
    ui::SessionListModel model;
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    const QDateTime now(QDate(2026, 3, 10), QTime(15, 0));
    model.setEntries({entryOf(3, "third", now.addSecs(-20)), entryOf(2, "second", now.addSecs(-7200)),
                      entryOf(1, "first", now.addDays(-1))},
                     now);
    QCOMPARE(model.rowCount(), 5);
    QCOMPARE(model.index(0).data().toString(), QString("Today"));
    QVERIFY(!(model.flags(model.index(0)) & Qt::ItemIsSelectable));
    QCOMPARE(model.sessionAt(model.index(1)), std::int64_t(3));
    QVERIFY(model.index(1).data(ui::SessionListModel::FactsRole).toString().contains("just now"));
    QVERIFY(model.index(2).data(ui::SessionListModel::FactsRole).toString().contains("13:00"));
    QCOMPARE(model.index(3).data().toString(), QString("Yesterday"));
    QCOMPARE(model.rowOf(1), 4);
    QCOMPARE(model.rowOf(99), -1);
  }

  void renamingASessionIsTold() {
    ui::SessionListModel model;
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    const QDateTime now(QDate(2026, 3, 10), QTime(15, 0));
    model.setEntries({entryOf(3, "third", now)}, now);
    QSignalSpy renamed(&model, &ui::SessionListModel::renamed);
    QVERIFY(!model.setData(model.index(0), "x", Qt::EditRole));   // a heading
    QVERIFY(!model.setData(model.index(1), "  ", Qt::EditRole));  // no name at all
    QVERIFY(model.setData(model.index(1), " A letter ", Qt::EditRole));
    QCOMPARE(renamed.size(), 1);
    QCOMPARE(model.index(1).data().toString(), QString("A letter"));
  }
};

QTEST_GUILESS_MAIN(ModelsTest)
#include "models_test.moc"
