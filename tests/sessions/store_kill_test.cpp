#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>

#include "sessions/store/session_store.h"
#include "tests/sessions/records.h"

namespace eyrie::sessions {

class StoreKillTest : public QObject {
  Q_OBJECT

 private slots:
  void killedProcessLosesNothingItReported_data() {
    QTest::addColumn<int>("reports");
    for (const int reports : {1, 4, 9, 14, 20}) QTest::addRow("killed after %d appends", reports) << reports;
  }
  // What was reported is committed. Between two appends lie 50 ms of tokens, so at most a tenth of a second
  // of what the process had made can be missing.
  void killedProcessLosesNothingItReported() {
    QFETCH(int, reports);
    QTemporaryDir folder;
    const std::filesystem::path file = folder.filePath("sessions.db").toStdString();
    QProcess writer;
    writer.setProgram(QStringLiteral(EYRIE_BINARY_DIR "/tests/sessions_store_writer"));
    writer.setArguments({QString::fromStdString(file.string())});
    writer.start();
    QVERIFY2(writer.waitForStarted(20000), qPrintable(writer.errorString()));
    QByteArray last;
    for (int seen = 0; seen < reports;) {
      QVERIFY2(writer.canReadLine() || writer.waitForReadyRead(60000),
               writer.readAllStandardError().constData());
      while (writer.canReadLine()) {
        last = writer.readLine();
        ++seen;
      }
    }
    // Another process looks in meanwhile: the message is being written, and stays so.
    const MessageId id = last.split(' ').at(0).toLongLong();
    QCOMPARE(SessionStore::open(file)->message(id).status, MessageStatus::writing);
    writer.kill();  // SIGKILL
    QVERIFY(writer.waitForFinished(20000));
    while (writer.canReadLine()) last = writer.readLine();
    const std::int64_t reported = last.split(' ').at(1).trimmed().toLongLong();

    const auto store = SessionStore::open(file);
    const Message message = store->message(id);
    QCOMPARE(message.status, MessageStatus::interrupted);
    QVERIFY2(message.tokens >= reported && message.tokens <= reported + 20,
             qPrintable(QStringLiteral("%1 tokens stored, %2 reported").arg(message.tokens).arg(reported)));
    QCOMPARE(message.text.size(), std::size_t(message.tokens));
    QVERIFY(testing::same(store->tokens(id), testing::makeRecords(0, message.tokens)));
    QCOMPARE(store->path(id).front().text, std::string("prompt"));
    QCOMPARE(store->check(), std::vector<std::string>{});
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::StoreKillTest)
#include "store_kill_test.moc"
