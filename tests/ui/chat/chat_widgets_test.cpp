// Messages, Markdown and the composer, without an engine.
#include <QAbstractTextDocumentLayout>
#include <QPushButton>
#include <QScrollBar>
#include <QSignalSpy>
#include <QtTest>
#include <ctime>

#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/chat/markdown.h"
#include "ui/chat/token_popover.h"
#include "ui/widgets/sampling_panel.h"

using namespace eyrie;
using namespace eyrie::ui;

namespace {

Turn turnOf(engine::Role role, TurnId parent, const QString& text) {
  Turn turn;
  turn.role = role;
  turn.parent = parent;
  turn.text = text;
  return turn;
}

// Milliseconds of work of this thread: what others do on the machine does not count.
qint64 worked() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

}  // namespace

class ChatWidgetsTest : public QObject {
  Q_OBJECT
 private slots:
  void markdownKeepsHtmlAsText() {
    const QString html = markdownToHtml("**bold** <script>x</script> <b>no</b>");
    QVERIFY2(html.contains("<strong>bold</strong>"), qPrintable(html));
    QVERIFY2(!html.contains("<script") && !html.contains("<b>"), qPrintable(html));
  }

  void markdownLoadsNoPictures() {
    const QString html = markdownToHtml("![a cat](https://example.org/cat.png) and ![](x.png)");
    QVERIFY2(!html.contains("<img"), qPrintable(html));
    QVERIFY2(html.contains("a cat"), qPrintable(html));
  }

  void leadingSpacesAreVisibleInLists() {
    QCOMPARE(visibleToken(" dear"), QString(QChar(0x2423)) + "dear");
    QCOMPARE(visibleToken("\n"), QString(QChar(0x23CE)));
  }

  void composerSendsOnReturnAndBreaksOnShiftReturn() {
    Composer composer;
    composer.show();
    QSignalSpy sent(&composer, &Composer::submitted);
    auto* input = composer.findChild<QWidget*>("composerInput");
    QTest::keyClick(input, Qt::Key_Return);
    QCOMPARE(sent.size(), 0);  // nothing written
    QTest::keyClicks(input, "one");
    QTest::keyClick(input, Qt::Key_Return, Qt::ShiftModifier);
    QTest::keyClicks(input, "two");
    QTest::keyClick(input, Qt::Key_Return);
    QCOMPARE(sent.size(), 1);
    QCOMPARE(sent.first().at(0).toString(), QString("one\ntwo"));
    composer.setBlocked("loading");
    QTest::keyClick(input, Qt::Key_Return);
    QCOMPARE(sent.size(), 1);
    QCOMPARE(composer.findChild<QPushButton*>("sendButton")->toolTip(), QString("loading"));
  }

  void everyControlOfTheComposerHasAName() {
    Composer composer;
    for (const QPushButton* button : composer.findChildren<QPushButton*>()) {
      QVERIFY2(!button->text().isEmpty() || !button->accessibleName().isEmpty(),
               qPrintable(button->objectName()));
    }
  }

  void samplingKeepsItsChoice() {
    SamplingPanel panel;
    SamplingChoice choice;
    choice.options.temperature = 0.4F;
    choice.options.topK = 40;
    choice.options.topP = 0.9F;
    choice.seedFixed = true;
    choice.options.seed = 12345678901ULL;
    choice.maxTokens = 77;
    panel.setChoice(choice);
    const SamplingChoice read = panel.choice();
    QCOMPARE(read.options.topK, 40);
    QVERIFY(qAbs(read.options.temperature - 0.4F) < 1e-6F);
    QCOMPARE(read.options.seed, 12345678901ULL);
    QVERIFY(read.seedFixed);
    QCOMPARE(read.maxTokens, 77);
    QVERIFY2(panel.summary().contains("12345678901"), qPrintable(panel.summary()));
  }

  void viewFollowsTheNewestUntilOneScrollsAway() {
    Conversation conversation;
    ConversationModel model(&conversation);
    ChatView view(&model);
    view.resize(500, 300);
    view.show();
    TurnId last = 0;
    for (int i = 0; i < 12; ++i)
      last = conversation.add(turnOf(engine::Role::user, last, QString("line\n\n").repeated(8)));
    QTRY_VERIFY_WITH_TIMEOUT(view.verticalScrollBar()->maximum() > 300, 30000);
    QTRY_COMPARE_WITH_TIMEOUT(view.verticalScrollBar()->value(), view.verticalScrollBar()->maximum(), 30000);
    view.verticalScrollBar()->setValue(0);
    QVERIFY(!view.isFollowing());
    const int before = view.verticalScrollBar()->maximum();
    conversation.appendText(last, QString("more\n").repeated(40));
    QTRY_VERIFY_WITH_TIMEOUT(view.verticalScrollBar()->maximum() > before, 30000);
    QCOMPARE(view.verticalScrollBar()->value(), 0);
    view.findChild<QPushButton*>("jumpToNewest")->click();
    QTRY_COMPARE_WITH_TIMEOUT(view.verticalScrollBar()->value(), view.verticalScrollBar()->maximum(), 30000);
  }

  // 20,000 tokens are about 90,000 characters; a streamed token may cost a frame at most.
  void longConversationStaysFluent() {
    Conversation conversation;
    ConversationModel model(&conversation);
    ChatView view(&model);
    view.resize(760, 700);
    view.show();
    qint64 begin = worked();
    TurnId last = 0;
    const QString words = QString("the old fox carried a lantern over the hill and said nothing at all. ");
    for (int i = 0; i < 200; ++i) {
      last =
          conversation.add(turnOf(i % 2 ? engine::Role::model : engine::Role::user, last, words.repeated(7)));
    }
    QCoreApplication::processEvents();
    qInfo("200 messages: %lld ms", worked() - begin);
    QVERIFY(worked() - begin < 15000);
    Turn reply = turnOf(engine::Role::model, last, {});
    reply.status = TurnStatus::writing;
    last = conversation.add(reply);
    qint64 worst = 0;
    begin = worked();
    for (int i = 0; i < 200; ++i) {
      const qint64 before = worked();
      conversation.appendText(last, " lantern");
      QCoreApplication::processEvents();
      worst = qMax(worst, worked() - before);
    }
    const qint64 all = worked() - begin;
    qInfo("200 tokens: %lld ms, worst %lld ms", all, worst);
    QVERIFY2(all < 200 * 25, qPrintable(QString::number(all)));
  }
};

QTEST_MAIN(ChatWidgetsTest)
#include "chat_widgets_test.moc"
